//! One certificate authority for each cluster (ECDSA P-256: fast to make, fast to verify).

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A certificate authority whose files lie in one folder.
#[derive(Debug)]
pub struct Authority {
    dir: PathBuf,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, both PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate.
    pub certificate: String,
    /// PKCS#8 key.
    pub key: String,
}

impl Authority {
    /// A new authority; writes `ca.crt` and `ca.key` into `dir`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(dir: &Path, name: &str) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        validity(&mut params);
        let pem = params.self_signed(&key)?.pem();
        let authority = Self { dir: dir.to_owned(), pem, issuer: Issuer::new(params, key) };
        authority.write("ca.crt", &authority.pem)?;
        authority.write("ca.key", &authority.issuer.key().serialize_pem())?;
        Ok(authority)
    }

    /// The authority's certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Path of a file of this authority.
    pub fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    /// A server certificate for these names and addresses: writes `<file>.crt` and `<file>.key`.
    ///
    /// # Errors
    /// When a name is not valid or the folder cannot be written.
    pub fn server(&self, file: &str, names: &[&str]) -> Result<()> {
        let identity = self.server_identity(file, names)?;
        self.write(&format!("{file}.crt"), &identity.certificate)?;
        self.write(&format!("{file}.key"), &identity.key)
    }

    /// A server certificate for these names and addresses, in memory.
    ///
    /// # Errors
    /// When a name is not valid.
    pub fn server_identity(&self, common_name: &str, names: &[&str]) -> Result<Identity> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(params)
    }

    /// A client certificate: the API server reads the user from the common name and the groups
    /// from the organisations.
    ///
    /// # Errors
    /// When signing fails.
    pub fn client(&self, user: &str, group: Option<&str>) -> Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params)
    }

    /// A client certificate in files `<file>.crt` and `<file>.key`.
    ///
    /// # Errors
    /// When signing fails or the folder cannot be written.
    pub fn client_files(&self, file: &str, user: &str) -> Result<()> {
        let identity = self.client(user, None)?;
        self.write(&format!("{file}.crt"), &identity.certificate)?;
        self.write(&format!("{file}.key"), &identity.key)
    }

    /// A key pair for service account tokens: writes `<file>.key` and `<file>.pub`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn token_key(&self, file: &str) -> Result<()> {
        let key = KeyPair::generate()?;
        self.write(&format!("{file}.key"), &key.serialize_pem())?;
        self.write(&format!("{file}.pub"), &key.public_key_pem())
    }

    fn sign(&self, mut params: CertificateParams) -> Result<Identity> {
        validity(&mut params);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    fn write(&self, file: &str, content: &str) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.path(file);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.dir)?;
            let mut file =
                std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path)?;
            std::io::Write::write_all(&mut file, content.as_bytes())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Wide enough for any clock and any demo left running; these clusters are throw-away.
fn validity(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
}
