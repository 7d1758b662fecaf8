//! What internal records are made of, as values: for those who show records without knowing them.
//!
//! Who works with a record has its type; these tables are for tools that print any of them.

/// One message of internal records.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The folder of the schema that it belongs to, for instance `metadata`.
    pub folder: &'static str,
    /// Kafka's name.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
    /// The first version with tagged fields; `i16::MAX` where there is none.
    pub flexible_from: i16,
    /// The fields, in order.
    pub fields: &'static [Field],
}

/// What a message is for, with its type number where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A record of the metadata log.
    Metadata(i16),
    /// The key of a coordinator's record.
    Key(i16),
    /// The value of a coordinator's record.
    Value(i16),
    /// A record of `__remote_log_metadata`.
    Remote(i16),
    /// Anything else.
    Plain,
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name, as JSON has it.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The lowest version with it.
    pub low: i16,
    /// The highest version with it.
    pub high: i16,
    /// The lowest and the highest version in which it may be null.
    pub nullable: Option<(i16, i16)>,
    /// The default, as the schema has it; empty for zero, false or nothing.
    pub default: &'static str,
    /// The number under which it stands behind the others.
    pub tag: Option<u32>,
}

/// The type of a field.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One byte.
    Bool,
    /// Signed.
    Int8,
    /// Signed.
    Int16,
    /// Unsigned.
    Uint16,
    /// Signed.
    Int32,
    /// Unsigned.
    Uint32,
    /// Signed.
    Int64,
    /// IEEE 754.
    Float64,
    /// 16 bytes.
    Uuid,
    /// UTF-8.
    String,
    /// Any bytes.
    Bytes,
    /// Its fields.
    Struct(&'static [Field]),
    /// Elements.
    Array(&'static Kind),
}

impl Shape {
    /// The message with this role in a folder.
    #[must_use]
    pub fn find(folder: &str, role: Role) -> Option<&'static Self> {
        super::shapes::SHAPES.iter().find(|shape| shape.folder == folder && shape.role == role)
    }

    /// The message of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        super::shapes::SHAPES.iter().find(|shape| shape.name == name)
    }
}
