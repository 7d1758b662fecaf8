//! What each field is in Rust, and how it is read, written and compared with its default.

use anyhow::{Context as _, Result, bail};

use super::names;
use super::schema::{Field, Type, Versions};

/// A field in the structure it belongs to, with the names of both settled.
pub struct WireField<'a> {
    pub field: &'a Field,
    /// The versions in which the field is there.
    pub present: Versions,
    /// The versions in which its structure is there.
    pub within: Versions,
    /// The name of its structure in Rust, if it has one.
    pub structure: Option<String>,
    /// The fewest bytes of its structure on the wire.
    pub least: usize,
}

/// A condition on the version `v`, known to be among `within`; `None` if it always holds.
pub fn condition(present: Versions, within: Versions) -> Option<String> {
    match (present.low > within.low, present.high < within.high) {
        (false, false) => None,
        (true, false) => Some(format!("v >= {}", present.low)),
        (false, true) if present.low == present.high => Some(format!("v == {}", present.low)),
        (false, true) => Some(format!("v <= {}", present.high)),
        (true, true) if present.low == present.high => Some(format!("v == {}", present.low)),
        (true, true) => Some(format!("({}..={}).contains(&v)", present.low, present.high)),
    }
}

/// The opposite of [`condition`]; `None` if it never holds.
pub fn opposite(present: Versions, within: Versions) -> Option<String> {
    match (present.low > within.low, present.high < within.high) {
        (false, false) => None,
        (true, false) => Some(format!("v < {}", present.low)),
        (false, true) => Some(format!("v > {}", present.high)),
        (true, true) => Some(format!("!({}..={}).contains(&v)", present.low, present.high)),
    }
}

impl WireField<'_> {
    pub fn name(&self) -> String {
        names::field(&self.field.name)
    }

    /// Where the field may be null, among the versions in which it is there.
    fn nullable(&self) -> Option<Versions> {
        self.field.nullable.and_then(|versions| versions.and(self.present))
    }

    /// The type of the field in Rust.
    pub fn rust_type(&self) -> Result<String> {
        let plain = self.plain_type(&self.field.kind)?;
        Ok(if self.nullable().is_some() { format!("Option<{plain}>") } else { plain })
    }

    fn plain_type(&self, kind: &Type) -> Result<String> {
        Ok(match kind {
            Type::Bool => "bool",
            Type::Int8 => "i8",
            Type::Int16 => "i16",
            Type::Uint16 => "u16",
            Type::Int32 => "i32",
            Type::Uint32 => "u32",
            Type::Int64 => "i64",
            Type::Float64 => "f64",
            Type::Uuid => "Uuid",
            Type::String => "String",
            Type::Bytes => "Bytes",
            Type::Records => "Records",
            Type::Struct(_) => return self.structure().map(str::to_owned),
            Type::Array(element) => return Ok(format!("Vec<{}>", self.plain_type(element)?)),
        }
        .to_owned())
    }

    fn structure(&self) -> Result<&str> {
        self.structure.as_deref().context("a field without its structure")
    }

    /// The default as an expression, and whether it is what Rust's `Default` would give.
    pub fn default(&self) -> Result<(String, bool)> {
        let said = self.field.default.as_deref();
        if self.nullable().is_some() {
            if said == Some("null") || self.field.kind == Type::Records {
                return Ok(("None".to_owned(), true));
            }
            return Ok((format!("Some({})", self.plain_default()?.0), false));
        }
        self.plain_default()
    }

    fn plain_default(&self) -> Result<(String, bool)> {
        let said = self.field.default.as_deref();
        Ok(match &self.field.kind {
            Type::Bool => (said.unwrap_or("false").to_owned(), said != Some("true")),
            Type::Int8 | Type::Int16 | Type::Uint16 | Type::Int32 | Type::Uint32 | Type::Int64 => {
                let number: i64 = said.unwrap_or("0").parse()?;
                let text = match number {
                    i64::MAX => "i64::MAX".to_owned(),
                    _ if number == i64::from(i32::MAX) => "i32::MAX".to_owned(),
                    _ if number == i64::from(i32::MIN) => "i32::MIN".to_owned(),
                    _ => number.to_string(),
                };
                (text, number == 0)
            }
            _ if said.is_some() => bail!("{} cannot have the default {said:?}", self.field.name),
            Type::Float64 => ("0.0".to_owned(), true),
            Type::Uuid => ("Uuid::ZERO".to_owned(), true),
            Type::String => ("String::new()".to_owned(), true),
            Type::Bytes => ("Bytes::new()".to_owned(), true),
            Type::Records => ("Records::default()".to_owned(), true),
            Type::Array(_) => ("Vec::new()".to_owned(), true),
            Type::Struct(_) => (format!("{}::default()", self.structure()?), true),
        })
    }

    /// A condition that holds when the field differs from its default.
    pub fn differs(&self) -> Result<String> {
        let name = self.name();
        let (default, _) = self.default()?;
        if default == "None" {
            return Ok(format!("self.{name}.is_some()"));
        }
        if self.nullable().is_some() {
            return Ok(match self.field.kind {
                Type::Struct(_) => format!("self.{name}.as_ref() != Some(&{}::default())", self.structure()?),
                _ => format!("self.{name}.as_ref().is_none_or(|value| !value.is_empty())"),
            });
        }
        Ok(match &self.field.kind {
            Type::Bool if default == "true" => format!("!self.{name}"),
            Type::Bool => format!("self.{name}"),
            Type::String | Type::Bytes | Type::Records | Type::Array(_) => format!("!self.{name}.is_empty()"),
            _ => format!("self.{name} != {default}"),
        })
    }

    /// An expression that reads the field where it is there.
    pub fn read(&self) -> Result<String> {
        let Some(nullable) = self.nullable() else {
            return self.read_plain("");
        };
        let or_null = match &self.field.kind {
            Type::Struct(_) => {
                let presence = if self.field.tag.is_some() { "presence_tagged" } else { "presence" };
                format!("if r.{presence}() {{ Some({}) }} else {{ None }}", self.read_plain("")?)
            }
            _ => self.read_plain("_nullable")?,
        };
        Ok(match condition(nullable, self.present) {
            None => or_null,
            Some(condition) => {
                format!("if {condition} {{ {or_null} }} else {{ Some({}) }}", self.read_plain("")?)
            }
        })
    }

    fn read_plain(&self, suffix: &str) -> Result<String> {
        Ok(match &self.field.kind {
            Type::Struct(_) => format!("{}::read(r, v)", self.structure()?),
            Type::Array(element) if element.structure().is_some() => {
                format!("r.structs{suffix}(v, {}, {}::read)", self.least, self.structure()?)
            }
            kind => format!("r.{}{suffix}()", method(kind)?),
        })
    }

    /// Statements that write the field where it is there.
    pub fn write(&self) -> Result<String> {
        let name = self.name();
        let Some(nullable) = self.nullable() else {
            return Ok(match &self.field.kind {
                Type::Struct(_) => format!("self.{name}.write(w, v);"),
                Type::Array(element) if element.structure().is_some() => {
                    format!("w.structs(&self.{name}, v, {}::write);", self.structure()?)
                }
                Type::String | Type::Bytes | Type::Records | Type::Array(_) => {
                    format!("w.{}(&self.{name});", method(&self.field.kind)?)
                }
                kind => format!("w.{}(self.{name});", method(kind)?),
            });
        };
        let refuse = match opposite(nullable, self.present) {
            None => String::new(),
            Some(condition) => {
                format!("if {condition} && self.{name}.is_none() {{ w.null(\"{}\", v); }}\n", self.field.name)
            }
        };
        let write = match &self.field.kind {
            Type::Struct(_) => {
                let presence = if self.field.tag.is_some() { "presence_tagged" } else { "presence" };
                let mark = format!("w.{presence}(self.{name}.is_some());");
                let mark = match condition(nullable, self.present) {
                    None => mark,
                    Some(condition) => format!("if {condition} {{ {mark} }}"),
                };
                format!("{mark}\nif let Some(value) = &self.{name} {{ value.write(w, v); }}")
            }
            Type::Array(element) if element.structure().is_some() => {
                format!("w.structs_nullable(self.{name}.as_deref(), v, {}::write);", self.structure()?)
            }
            Type::String | Type::Array(_) => {
                format!("w.{}_nullable(self.{name}.as_deref());", method(&self.field.kind)?)
            }
            kind => format!("w.{}_nullable(self.{name}.as_ref());", method(kind)?),
        };
        Ok(refuse + &write)
    }
}

/// The name of the methods that read and write a type.
fn method(kind: &Type) -> Result<&'static str> {
    Ok(match kind {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "uuid",
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Records => "records",
        Type::Array(element) => match **element {
            Type::Int8 => "i8s",
            Type::Int16 => "i16s",
            Type::Int32 => "i32s",
            Type::Int64 => "i64s",
            Type::Uuid => "uuids",
            Type::String => "strings",
            _ => bail!("no method for an array of {element:?}"),
        },
        Type::Struct(name) => bail!("no method for {name}"),
    })
}

/// The fewest bytes that a value of a type takes in a version; `structure` is what its structure takes.
pub fn least_bytes(field: &Field, version: Versions, is_flexible: bool, structure: usize) -> usize {
    let is_nullable = field.nullable.is_some_and(|nullable| nullable.and(version).is_some());
    match &field.kind {
        Type::Bool | Type::Int8 => 1,
        Type::Int16 | Type::Uint16 => 2,
        Type::Int32 | Type::Uint32 => 4,
        Type::Int64 | Type::Float64 => 8,
        Type::Uuid => 16,
        Type::Struct(_) if is_nullable => 1,
        Type::Struct(_) => structure,
        _ if is_flexible => 1,
        Type::String => 2,
        Type::Bytes | Type::Records | Type::Array(_) => 4,
    }
}
