//! The schema texts, read into plain structures. `crates/protocol/schema/README.md` has the grammar.

use anyhow::{Context as _, Result, bail, ensure};

use super::names;

/// A range of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    pub low: i16,
    pub high: i16,
}

/// One API: a request and its response.
#[derive(Debug)]
pub struct Api {
    pub key: i16,
    pub name: String,
    pub on_broker: bool,
    pub on_controller: bool,
    pub request: Message,
    pub response: Message,
}

/// One text of internal records: a record, or the key and the value of one.
#[derive(Debug)]
pub struct RecordFile {
    pub stem: String,
    pub messages: Vec<Message>,
}

/// What a message is for, with its type number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Request,
    Response,
    Metadata(i16),
    Key(i16),
    Value(i16),
    Remote(i16),
    Plain,
}

#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub name: String,
    pub versions: Versions,
    /// The first flexible version.
    pub flexible_from: Option<i16>,
    /// The version Kafka does not offer yet.
    pub unstable: Option<i16>,
    pub fields: Vec<Field>,
    /// Structures that several fields share.
    pub structs: Vec<(String, Vec<Field>)>,
}

#[derive(Debug)]
pub struct Field {
    /// Kafka's name.
    pub name: String,
    pub kind: Type,
    pub versions: Versions,
    /// Where the value may be null.
    pub nullable: Option<Versions>,
    pub default: Option<String>,
    pub tag: Option<u8>,
    pub ignorable: bool,
    /// The fields of the structure, if it is described here.
    pub fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

impl Versions {
    pub fn parse(text: &str) -> Result<Self> {
        let (low, high) = if let Some(low) = text.strip_suffix('+') {
            (low.parse()?, i16::MAX)
        } else if let Some((low, high)) = text.split_once('-') {
            (low.parse()?, high.parse()?)
        } else {
            (text.parse()?, text.parse()?)
        };
        ensure!(low <= high, "the versions {text} are none");
        Ok(Self { low, high })
    }

    /// The versions in both ranges.
    pub fn and(self, other: Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }
}

impl Type {
    fn parse(text: &str) -> Self {
        match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            _ => match text.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element))),
                None => Self::Struct(text.to_owned()),
            },
        }
    }

    /// The structure this type is made of.
    pub fn structure(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.structure(),
            _ => None,
        }
    }
}

impl Api {
    pub fn parse(_stem: &str, text: &str) -> Result<Self> {
        let lines = lines(text);
        let (head, rest) = lines.split_first().context("an empty text")?;
        let words: Vec<&str> = head.text.split_whitespace().collect();
        let ["api", key, name, "on", listeners @ ..] = words.as_slice() else {
            bail!("{:?} should be `api KEY NAME on LISTENER…`", head.text);
        };
        let messages = messages(rest, name)?;
        let Ok([request, response]) = <[Message; 2]>::try_from(messages) else {
            bail!("an API is one request and one response");
        };
        ensure!(request.kind == Kind::Request && response.kind == Kind::Response, "request, then response");
        ensure!(request.versions == response.versions, "request and response have other versions");
        ensure!(request.flexible_from == response.flexible_from, "request and response are flexible apart");
        Ok(Self {
            key: key.parse()?,
            name: (*name).to_owned(),
            on_broker: listeners.contains(&"broker"),
            on_controller: listeners.contains(&"controller"),
            request,
            response,
        })
    }

    pub fn module(&self) -> String {
        names::snake(&self.name)
    }
}

impl RecordFile {
    pub fn parse(stem: &str, text: &str) -> Result<Self> {
        Ok(Self { stem: stem.to_owned(), messages: messages(&lines(text), "")? })
    }
}

/// A line without comment, with the depth of its indentation.
struct Line<'a> {
    depth: usize,
    text: &'a str,
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        let text = line.trim_start();
        if !text.is_empty() {
            lines.push(Line { depth: (line.len() - text.len()) / 4, text });
        }
    }
    lines
}

fn messages(mut lines: &[Line<'_>], api: &str) -> Result<Vec<Message>> {
    let mut messages: Vec<Message> = Vec::new();
    while let Some((head, rest)) = lines.split_first() {
        let (fields, rest) = fields(rest, 1)?;
        lines = rest;
        match head.text.strip_prefix("struct ") {
            Some(name) => {
                let message = messages.last_mut().context("a struct before every message")?;
                message.structs.push((name.to_owned(), fields));
            }
            None => messages.push(message(head.text, api, fields).context(head.text.to_owned())?),
        }
    }
    Ok(messages)
}

fn message(head: &str, api: &str, fields: Vec<Field>) -> Result<Message> {
    let words: Vec<&str> = head.split_whitespace().collect();
    let (kind, name, rest) = match words.as_slice() {
        ["request", rest @ ..] => (Kind::Request, format!("{api}Request"), rest),
        ["response", rest @ ..] => (Kind::Response, format!("{api}Response"), rest),
        ["metadata", number, name, rest @ ..] => (Kind::Metadata(number.parse()?), (*name).to_owned(), rest),
        ["key", number, name, rest @ ..] => (Kind::Key(number.parse()?), (*name).to_owned(), rest),
        ["value", number, name, rest @ ..] => (Kind::Value(number.parse()?), (*name).to_owned(), rest),
        ["remote", number, name, rest @ ..] => (Kind::Remote(number.parse()?), (*name).to_owned(), rest),
        ["data", name, rest @ ..] => (Kind::Plain, (*name).to_owned(), rest),
        _ => bail!("no such kind of message"),
    };
    let (versions, flexible, unstable) = match rest {
        ["versions", versions, "flexible", flexible] => (versions, flexible, None),
        ["versions", versions, "flexible", flexible, "unstable", unstable] => {
            (versions, flexible, Some(unstable.parse()?))
        }
        _ => bail!("expected `versions A-B flexible C+`"),
    };
    let flexible_from = if *flexible == "none" { None } else { Some(Versions::parse(flexible)?.low) };
    let versions = Versions::parse(versions)?;
    Ok(Message { kind, name, versions, flexible_from, unstable, fields, structs: Vec::new() })
}

/// The fields at a depth, up to the first line that is further out.
fn fields<'a, 'b>(mut lines: &'b [Line<'a>], depth: usize) -> Result<(Vec<Field>, &'b [Line<'a>])> {
    let mut found = Vec::new();
    while let Some((line, rest)) = lines.split_first() {
        if line.depth < depth {
            break;
        }
        ensure!(line.depth == depth, "{:?} is indented too far", line.text);
        let mut field = field(line.text).context(line.text.to_owned())?;
        let (inner, rest) = fields(rest, depth + 1)?;
        ensure!(inner.is_empty() || field.kind.structure().is_some(), "{:?} cannot have fields", line.text);
        field.fields = inner;
        found.push(field);
        lines = rest;
    }
    Ok((found, lines))
}

fn field(line: &str) -> Result<Field> {
    let mut words = line.split_whitespace();
    let name = words.next().context("no name")?.to_owned();
    let kind = words.next().context("no type")?;
    let versions = Versions::parse(words.next().context("no versions")?)?;
    let (kind, nullable) = match kind.split_once('?') {
        None => (kind, None),
        Some((kind, "")) => (kind, Some(versions)),
        Some((kind, nullable)) => (kind, Some(Versions::parse(nullable)?)),
    };
    let mut field = Field {
        name,
        kind: Type::parse(kind),
        versions,
        nullable,
        default: None,
        tag: None,
        ignorable: false,
        fields: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word {
            "=" => field.default = Some(words.next().context("no default after =")?.to_owned()),
            "tag" => field.tag = Some(words.next().context("no number after tag")?.parse()?),
            "ignorable" => field.ignorable = true,
            other => bail!("unknown word {other:?}"),
        }
    }
    Ok(field)
}
