//! Rust sources with comments and literals blanked out: enough of a lexer for counting and searching.

use std::path::{Path, PathBuf};

use super::tree;

/// A Rust file of ours.
pub(super) struct Source {
    pub(super) file: PathBuf,
    /// As written.
    pub(super) text: String,
    /// The same lines, without comments, strings and test modules.
    pub(super) code: String,
}

impl Source {
    /// Whether the whole file is tests.
    pub(super) fn is_test(&self) -> bool {
        let in_tests = self.file.components().any(|part| part.as_os_str() == "tests");
        in_tests || self.file.ends_with("tests.rs")
    }

    /// Whether it belongs to the package in this folder.
    pub(super) fn is_in(&self, folder: &str) -> bool {
        self.file.starts_with(folder)
    }

    /// `file:line` of a byte offset in `code`.
    pub(super) fn place(&self, at: usize) -> String {
        format!("{}:{}", self.file.display(), self.code[..at].matches('\n').count() + 1)
    }

    /// Lines of code: neither blank nor comment nor test.
    pub(super) fn lines(&self) -> usize {
        self.code.lines().filter(|line| !line.trim().is_empty()).count()
    }
}

/// Every Rust file of the workspace.
pub(super) fn all() -> Vec<Source> {
    let rust = tree::files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|file| {
        let text = tree::text(&file).expect("Rust is text");
        let code = without_test_modules(&blank(&text));
        Source { file, text, code }
    })
    .collect()
}

/// Replaces comments, strings and characters by blanks, line for line.
pub(super) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at + line_end(&bytes[at..]),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at + block_comment(&bytes[at..]),
            b'"' => at + string(&bytes[at..]),
            b'r' if !ends_word(bytes, at) => at + raw_string(&bytes[at..]),
            b'\'' => at + character(&bytes[at..]),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8(out).expect("whole literals were blanked")
}

fn ends_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b'
}

fn line_end(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len())
}

fn block_comment(bytes: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string(bytes: &[u8]) -> usize {
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

fn raw_string(bytes: &[u8]) -> usize {
    let hashes = bytes[1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"", "#".repeat(hashes).as_bytes()].concat();
    let body = &bytes[2 + hashes..];
    let length = body.windows(close.len()).position(|window| window == close);
    length.map_or(bytes.len(), |length| 2 + hashes + length + close.len())
}

/// A character literal, or nothing for a lifetime.
fn character(bytes: &[u8]) -> usize {
    match bytes {
        [_, b'\\', ..] => bytes.iter().skip(3).position(|byte| *byte == b'\'').map_or(0, |length| length + 4),
        _ => {
            let literal = String::from_utf8_lossy(&bytes[..bytes.len().min(8)]).into_owned();
            let mut chars = literal.chars().skip(1);
            match (chars.next(), chars.next()) {
                (Some(inner), Some('\'')) => inner.len_utf8() + 2,
                _ => 0,
            }
        }
    }
}

/// Blanks every item behind `#[cfg(test)]`.
fn without_test_modules(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let rest = &out[start..];
        let end = match (rest.find('{'), rest.find(';')) {
            (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                brace + block(&rest[brace..])
            }
            (_, Some(semicolon)) => semicolon + 1,
            _ => rest.len(),
        };
        let blanked: String = rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..start + end, &blanked);
    }
    out
}

/// Length of the block that starts here.
pub(super) fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

/// Where the words start that `word` names, as whole words.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && (!after.is_some_and(is_word) || !word.ends_with(is_word))
    })
}

/// The path of a file without its extension, as a module name.
pub(super) fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

#[test]
fn the_lexer_sees_code_and_nothing_else() {
    let text = "let a = \"dbg!(\\\"\"; // dbg!\nlet b = r#\"x \" dbg!\"#; /* a /* b */ dbg! */ let c: &'a str = '\\''; let d = '{';\n";
    let code = blank(text);
    assert!(!code.contains("dbg"), "{code}");
    assert!(!code.contains('{'), "{code}");
    assert!(code.contains("let c: &'a str ="), "{code}");
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn test_modules_do_not_count() {
    let code =
        without_test_modules("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\n");
    assert!(code.contains("fn a") && code.contains("fn c"));
    assert!(!code.contains("fn b") && !code.contains("mod d"), "{code}");
}
