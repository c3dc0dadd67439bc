//! Where rows go: lines on stdout as they come, and the file for machines.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::figures::Row;
use super::machine::{self, Conditions};
use crate::ledger;

/// Everything measured so far.
#[derive(Debug)]
pub struct Report {
    conditions: Conditions,
    /// POST/s of one API server at 16 in flight, once it is known.
    pub floor: Option<f64>,
    rows: Vec<Value>,
    profiles: Vec<Value>,
    file: Option<PathBuf>,
    judge: bool,
    incomplete: usize,
}

impl Report {
    /// An empty one. Without `judge`, targets are neither shown nor held against anything.
    pub fn new(conditions: Conditions, file: Option<PathBuf>, judge: bool) -> Self {
        Self { conditions, floor: None, rows: vec![], profiles: vec![], file, judge, incomplete: 0 }
    }

    /// Prints a row and keeps it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn row(&mut self, mut row: Row) -> Result<()> {
        if !self.judge {
            row.target = None;
        }
        let load = machine::load();
        let floor = self.floor.map_or(String::new(), |floor| format!("; floor {floor:.0} POST/s"));
        say(&format!("{}  [load {load:.1}{floor}]", row.line(self.floor)));
        let mut value = serde_json::to_value(&row)?;
        if let Some(fields) = value.as_object_mut() {
            fields.insert("value".to_owned(), json!(row.value()));
            fields.insert("scaledTarget".to_owned(), json!(row.target.map(|target| target.on(self.floor))));
            fields.insert("met".to_owned(), json!(row.met(self.floor)));
            fields.insert("floor".to_owned(), json!(self.floor));
            fields.insert("loadAverage".to_owned(), json!(load));
        }
        self.incomplete += usize::from(row.value().is_none());
        self.rows.push(value);
        self.write()
    }

    /// Keeps where the time of a burst went.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn profile(&mut self, of: &str, profile: Value) -> Result<()> {
        self.profiles.push(json!({ "of": of, "profile": profile }));
        self.write()
    }

    /// Rows that have no result.
    pub fn incomplete(&self) -> usize {
        self.incomplete
    }

    fn write(&self) -> Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let all = json!({
            "conditions": self.conditions,
            "floor": self.floor,
            "rows": self.rows,
            "profiles": self.profiles,
        });
        ledger::replace(file, format!("{all:#}\n").as_bytes())
    }
}

/// One line on stdout. A reader that went away is no reason to stop measuring.
pub fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
