//! What can be typed after `cargo bench-fed --`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;

/// Measures what propagation costs and how long it takes, on real API servers on this machine.
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo bench-fed --", bin_name = "cargo bench-fed --")]
pub struct Arguments {
    /// What to measure: b0 (the machine itself), b1 (bursts), b2 (latency), b7 (memory), b13 (requests). These by default;
    /// context (the context tree beside Go's and tokio-util's) only by name, and by itself.
    #[arg(value_name = "BENCHMARK")]
    pub benchmarks: Vec<Benchmark>,
    /// Write conditions, rows and every raw sample to this file, anew after each row.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Start hub and members without Pando, print their kubeconfigs, wait until a controller of yours has joined them,
    /// then only apply load and watch.
    #[arg(long)]
    pub external: bool,
    /// Processes of that controller, whose memory is added up.
    #[arg(long = "pid", value_name = "PID", requires = "external")]
    pub pids: Vec<u32>,
    /// Members that run workloads.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=40))]
    pub members: u16,
    /// Members of the second rig, which take objects and run nothing (b1, b2 and b13 at that width); 0 leaves it out.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=40))]
    pub fleet: u16,
    /// How often each burst is repeated; one more comes first and is not counted. Rounds of `context`.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub runs: u16,
    /// How many objects are timed one by one.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    pub samples: u16,
    /// Numbers of ConfigMaps at which memory is measured, growing.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1000")]
    pub sizes: Vec<u32>,
    /// Take this as the machine's POST/s at 16 in flight instead of measuring it.
    #[arg(long, value_name = "PER SECOND")]
    pub floor: Option<f64>,
    /// More flags for the controller under test.
    #[arg(long = "controller-flag", value_name = "FLAG", allow_hyphen_values = true, conflicts_with = "external")]
    pub flags: Vec<String>,
    /// Print where the time went: requests by stage, and processor time by process.
    #[arg(long)]
    pub profile: bool,
    /// A tenth of everything, for trying the tool itself. Targets are not judged.
    #[arg(long)]
    pub quick: bool,
}

impl Arguments {
    /// Whether this one is asked for.
    pub fn wants(&self, one: Benchmark) -> bool {
        self.benchmarks.contains(&one) || (self.benchmarks.is_empty() && one != Benchmark::Context)
    }

    /// Whether one of these is asked for.
    pub fn wants_any(&self, some: &[Benchmark]) -> bool {
        some.iter().any(|one| self.wants(*one))
    }

    /// `full`, or a tenth of it (at least one) when it must go quickly.
    pub fn scaled(&self, full: u32) -> u32 {
        if self.quick { full.div_ceil(10) } else { full }
    }
}

/// A benchmark by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Benchmark {
    /// The floor of the machine.
    B0,
    /// Bursts.
    B1,
    /// Latency.
    B2,
    /// Memory.
    B7,
    /// Requests.
    B13,
    /// The context tree.
    Context,
}

impl FromStr for Benchmark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "b0" => Ok(Self::B0),
            "b1" => Ok(Self::B1),
            "b2" => Ok(Self::B2),
            "b7" => Ok(Self::B7),
            "b13" => Ok(Self::B13),
            "context" => Ok(Self::Context),
            _ => Err(format!("there is no benchmark `{text}`; there are b0, b1, b2, b7, b13 and context")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["bench-fed"], words].concat())
    }

    #[test]
    fn the_line_of_the_documents_is_understood() {
        let arguments = parse(&["b0", "B1", "b13", "--json", "out.json", "--members", "12"]).ok();
        let arguments = arguments.as_ref();
        assert_eq!(arguments.map(|all| all.members), Some(12));
        assert_eq!(arguments.map(|all| all.wants(Benchmark::B1)), Some(true));
        assert_eq!(arguments.map(|all| all.wants(Benchmark::B7)), Some(false));
        assert_eq!(arguments.map(|all| all.wants_any(&[Benchmark::B7, Benchmark::B13])), Some(true));
    }

    #[test]
    fn without_names_everything_of_a_federation_is_measured() {
        let arguments = parse(&[]).ok();
        assert_eq!(arguments.as_ref().map(|all| all.wants(Benchmark::B7)), Some(true));
        assert_eq!(arguments.map(|all| all.sizes), Some(vec![1000]));
    }

    #[test]
    fn the_context_tree_is_measured_only_by_name() {
        let wants = |words: &[&str]| parse(words).ok().map(|all| all.wants(Benchmark::Context));
        assert_eq!((wants(&[]), wants(&["b1"]), wants(&["context"])), (Some(false), Some(false), Some(true)));
    }

    #[test]
    fn an_unknown_benchmark_names_the_known_ones() {
        let error = parse(&["b99"]).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("b99") && error.contains("b13"), "{error}");
    }

    #[test]
    fn processes_are_named_for_a_controller_of_somebody_else_only() {
        assert!(parse(&["--pid", "4711"]).is_err());
        assert!(parse(&["--external", "--pid", "4711"]).is_ok());
    }

    #[test]
    fn quickly_means_a_tenth() {
        let quick = parse(&["--quick"]).ok();
        assert_eq!(quick.map(|all| [47, 1000, 3].map(|full| all.scaled(full))), Some([5, 100, 1]));
    }
}
