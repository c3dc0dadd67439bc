//! The command lines.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::parts::Parts;
use crate::pki::Authority;
use crate::ports;
use crate::process::Launch;
use crate::provider::Role;

/// Users of the components, and their groups. RBAC rules for them are part of every API server.
pub(super) const USERS: [(&str, Option<&str>); 3] = [
    ("system:kube-controller-manager", None),
    ("system:kube-scheduler", None),
    // kwok plays kubelet and more (it deletes pods of others).
    ("kwok", Some("system:masters")),
];

/// The loops of a control plane that has no nodes: templates stay templates there.
const HUB_CONTROLLERS: &str = "namespace,garbagecollector,serviceaccount-token,ttl-after-finished,\
    bootstrapsigner,tokencleaner,csrcleaner,csrsigning,clusterrole-aggregation";

/// The loops of a cluster that runs workloads, without cloud, volume and address management.
const MEMBER_CONTROLLERS: &str = "namespace,garbagecollector,serviceaccount,serviceaccount-token,\
    root-ca-certificate-publisher-controller,deployment,replicaset,statefulset,daemonset,job,cronjob,endpointslice,\
    endpointslicemirroring,resourcequota,disruption,horizontalpodautoscaling,podgc,nodelifecycle,\
    clusterrole-aggregation,ttl-after-finished";

const STAGES: &str = include_str!("../../stages/kwok.yaml");

/// Reads of the cluster's own components are noise; everything else is one line when it is answered.
const AUDIT_POLICY: &str = r#"apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: ["RequestReceived"]
rules:
  - level: None
    verbs: ["get", "list", "watch"]
    userGroups: ["system:serviceaccounts:kube-system"]
  - level: None
    users: ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "kwok"]
    verbs: ["get", "list", "watch"]
  - level: None
    resources: [{ group: "coordination.k8s.io", resources: ["leases"] }]
    users: ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver", "kwok"]
  - level: None
    users: ["pando-e2e", "system:anonymous"]
    nonResourceURLs: ["/healthz*", "/readyz*", "/livez*"]
  - level: Metadata
"#;

/// Ports on 127.0.0.1.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) apiserver: u16,
    pub(super) controller_manager: u16,
    pub(super) scheduler: u16,
    pub(super) kwok: u16,
}

impl Ports {
    pub(super) fn free() -> Result<Self> {
        Ok(Self {
            etcd: ports::free()?,
            etcd_peer: ports::free()?,
            apiserver: ports::free()?,
            controller_manager: ports::free()?,
            scheduler: ports::free()?,
            kwok: ports::free()?,
        })
    }
}

/// Files, folders and ports of one cluster.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) name: String,
    /// Number of the cluster, for address ranges that do not overlap.
    pub(super) index: u32,
    pub(super) parts: Parts,
    pub(super) pki: PathBuf,
    pub(super) data: PathBuf,
    pub(super) logs: PathBuf,
    pub(super) ports: Ports,
}

/// Every certificate and key that the command lines name.
pub(super) fn certificates(authority: &Authority) -> Result<()> {
    authority.server(
        "apiserver",
        &[
            "127.0.0.1",
            "10.96.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ],
    )?;
    authority.server("components", &["127.0.0.1", "localhost"])?;
    authority.client_files("front-proxy", "front-proxy")?;
    authority.token_key("service-account")
}

impl Layout {
    pub(super) fn audit_log(&self) -> PathBuf {
        self.logs.join(format!("{}-audit.log", self.name))
    }

    pub(super) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.pki.join(format!("{}.kubeconfig", user.replace(':', "-")))
    }

    pub(super) fn etcd(&self) -> Launch {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peer = format!("http://127.0.0.1:{}", self.ports.etcd_peer);
        let args = [
            ("--name", "default".to_owned()),
            ("--data-dir", show(&self.data.join("etcd"))),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
            ("--auto-compaction-mode", "periodic".to_owned()),
            ("--auto-compaction-retention", "1h".to_owned()),
            ("--log-level", "warn".to_owned()),
            // The data does not survive the process anyway.
            ("--unsafe-no-fsync", "true".to_owned()),
        ];
        self.launch("etcd", flags(&args), vec![self.ports.etcd, self.ports.etcd_peer])
    }

    pub(super) fn apiserver(&self, role: Role) -> Result<Launch> {
        let policy = self.file("audit-policy.yaml", AUDIT_POLICY)?;
        let mut args = vec![
            ("--etcd-servers", format!("http://127.0.0.1:{}", self.ports.etcd)),
            ("--bind-address", "127.0.0.1".to_owned()),
            ("--secure-port", self.ports.apiserver.to_string()),
            // No other API server and no pod network: nobody to tell the address to.
            ("--endpoint-reconciler-type", "none".to_owned()),
            ("--service-cluster-ip-range", "10.96.0.0/16".to_owned()),
            ("--tls-cert-file", self.pki_file("apiserver.crt")),
            ("--tls-private-key-file", self.pki_file("apiserver.key")),
            ("--client-ca-file", self.pki_file("ca.crt")),
            ("--authorization-mode", "RBAC".to_owned()),
            ("--service-account-issuer", "https://kubernetes.default.svc.cluster.local".to_owned()),
            ("--service-account-key-file", self.pki_file("service-account.pub")),
            ("--service-account-signing-key-file", self.pki_file("service-account.key")),
            ("--proxy-client-cert-file", self.pki_file("front-proxy.crt")),
            ("--proxy-client-key-file", self.pki_file("front-proxy.key")),
            ("--requestheader-client-ca-file", self.pki_file("ca.crt")),
            ("--requestheader-allowed-names", "front-proxy".to_owned()),
            ("--requestheader-username-headers", "X-Remote-User".to_owned()),
            ("--requestheader-group-headers", "X-Remote-Group".to_owned()),
            ("--requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
            ("--enable-aggregator-routing", "true".to_owned()),
            ("--allow-privileged", "true".to_owned()),
            ("--profiling", "false".to_owned()),
            ("--shutdown-delay-duration", "0s".to_owned()),
            ("--audit-policy-file", policy),
            ("--audit-log-path", show(&self.audit_log())),
            // Tests read one file; a demo that runs for weeks still cannot fill the disk.
            ("--audit-log-maxsize", "200".to_owned()),
            ("--audit-log-maxbackup", "1".to_owned()),
        ];
        if role == Role::Hub {
            // As Karmada runs its own: templates must not need service accounts, and volumes
            // and claims must not get finalizers that nothing there removes.
            args.push(("--disable-admission-plugins", "StorageObjectInUseProtection,ServiceAccount".to_owned()));
            args.push(("--enable-bootstrap-token-auth", "true".to_owned()));
        }
        Ok(self.launch("kube-apiserver", flags(&args), vec![self.ports.apiserver]))
    }

    pub(super) fn controller_manager(&self, role: Role) -> Result<Launch> {
        let kubeconfig = show(&self.kubeconfig("system:kube-controller-manager"));
        let controllers = match role {
            Role::Hub => HUB_CONTROLLERS,
            Role::Member | Role::Bare => MEMBER_CONTROLLERS,
        };
        let args = [
            ("--kubeconfig", kubeconfig.clone()),
            ("--authentication-kubeconfig", kubeconfig.clone()),
            ("--authorization-kubeconfig", kubeconfig),
            ("--bind-address", "127.0.0.1".to_owned()),
            ("--secure-port", self.ports.controller_manager.to_string()),
            ("--tls-cert-file", self.pki_file("components.crt")),
            ("--tls-private-key-file", self.pki_file("components.key")),
            ("--leader-elect", "false".to_owned()),
            ("--use-service-account-credentials", "true".to_owned()),
            ("--root-ca-file", self.pki_file("ca.crt")),
            ("--service-account-private-key-file", self.pki_file("service-account.key")),
            ("--cluster-signing-cert-file", self.pki_file("ca.crt")),
            ("--cluster-signing-key-file", self.pki_file("ca.key")),
            ("--controllers", controllers.to_owned()),
            // The default of 20 a second brings the first ServiceAccount five seconds late.
            ("--kube-api-qps", "300".to_owned()),
            ("--kube-api-burst", "600".to_owned()),
        ];
        Ok(self.launch("kube-controller-manager", flags(&args), vec![self.ports.controller_manager]))
    }

    pub(super) fn scheduler(&self) -> Result<Launch> {
        let kubeconfig = show(&self.kubeconfig("system:kube-scheduler"));
        let config = self.file(
            "scheduler.yaml",
            &format!(
                "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
                 leaderElection:\n  leaderElect: false\n\
                 clientConnection:\n  kubeconfig: {kubeconfig:?}\n  qps: 300\n  burst: 600\n"
            ),
        )?;
        let args = [
            ("--config", config),
            ("--authentication-kubeconfig", kubeconfig.clone()),
            ("--authorization-kubeconfig", kubeconfig),
            ("--bind-address", "127.0.0.1".to_owned()),
            ("--secure-port", self.ports.scheduler.to_string()),
            ("--tls-cert-file", self.pki_file("components.crt")),
            ("--tls-private-key-file", self.pki_file("components.key")),
        ];
        Ok(self.launch("kube-scheduler", flags(&args), vec![self.ports.scheduler]))
    }

    pub(super) fn kwok(&self) -> Result<Launch> {
        let stages = self.file("stages.yaml", STAGES)?;
        let args = [
            ("--kubeconfig", show(&self.kubeconfig("kwok"))),
            ("--config", stages),
            ("--manage-all-nodes", "true".to_owned()),
            ("--node-lease-duration-seconds", "40".to_owned()),
            ("--cidr", format!("10.{}.0.0/16", 100 + self.index % 100)),
            ("--node-ip", "127.0.0.1".to_owned()),
            ("--server-address", format!("127.0.0.1:{}", self.ports.kwok)),
        ];
        Ok(self.launch("kwok", flags(&args), vec![self.ports.kwok]))
    }

    fn launch(&self, program: &str, args: Vec<String>, ports: Vec<u16>) -> Launch {
        let name = format!("{}-{program}", self.name);
        Launch {
            program: self.parts.path(program),
            args,
            env: vec![],
            log: self.logs.join(format!("{name}.log")),
            ports,
            // An API server waits for its etcd before it ends.
            foundation: program == "etcd",
            name,
        }
    }

    fn pki_file(&self, name: &str) -> String {
        show(&self.pki.join(name))
    }

    fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.pki.join(name);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(show(&path))
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

fn flags(args: &[(&str, String)]) -> Vec<String> {
    args.iter().map(|(flag, value)| format!("{flag}={value}")).collect()
}
