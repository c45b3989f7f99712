//! Texts with placeholders, such as `{unit}`: how they are read, and the values for them. Pure.
//!
//! It must not know what the text is, nor how a value is escaped in it.

use super::ActionSubject;

/// A value that is put into a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The unit's full name.
    Unit,
    /// The machine's ID.
    Machine,
    /// The machine's address.
    Ip,
    /// systemd's `%p`: of `web@1.service` it is `web`.
    Prefix,
    /// systemd's `%i`: of `web@1.service` it is `1`, of `web.service` it is empty.
    Instance,
}

impl Placeholder {
    /// All of them, with their names.
    pub const ALL: [(&str, Self); 5] = [
        ("unit", Self::Unit),
        ("machine", Self::Machine),
        ("ip", Self::Ip),
        ("prefix", Self::Prefix),
        ("instance", Self::Instance),
    ];

    /// Its value. `None` if it is not known.
    pub(super) fn value<'a>(self, subject: &ActionSubject<'a>) -> Option<&'a str> {
        match self {
            Placeholder::Unit => subject.unit,
            Placeholder::Machine => subject.machine,
            Placeholder::Ip => subject.ip,
            Placeholder::Prefix => subject.unit.map(|unit| prefix_and_instance(unit).0),
            Placeholder::Instance => subject.unit.map(|unit| prefix_and_instance(unit).1),
        }
    }
}

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `{` or a `}` has no partner.
    #[error("a brace has no partner; a brace that is no placeholder is written %7B or %7D")]
    Unbalanced,
    /// There is no placeholder with this name.
    #[error(
        "unknown placeholder {{{0}}}; expected {{unit}}, {{machine}}, {{ip}}, {{prefix}} or \
         {{instance}}"
    )]
    Unknown(String),
}

/// A part of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TemplatePart<'a> {
    Text(&'a str),
    Value(Placeholder),
}

/// The parts of a template, in their order.
pub(super) fn parts(template: &str) -> Result<Vec<TemplatePart<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = template;

    while let Some(open) = rest.find(['{', '}']) {
        let (text, from_brace) = rest.split_at(open);
        let inside = from_brace.strip_prefix('{').ok_or(TemplateError::Unbalanced)?;
        let close = inside.find(['{', '}']).ok_or(TemplateError::Unbalanced)?;
        let (name, from_brace) = inside.split_at(close);
        rest = from_brace.strip_prefix('}').ok_or(TemplateError::Unbalanced)?;

        let placeholder = Placeholder::ALL.iter().find(|(known, _)| *known == name);
        let (_, placeholder) =
            placeholder.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
        parts.extend([TemplatePart::Text(text), TemplatePart::Value(*placeholder)]);
    }

    parts.push(TemplatePart::Text(rest));
    Ok(parts)
}

/// The prefix and the instance of a unit's name, as systemd has them (`systemd.unit(5)`, section
/// "Specifiers"): what is before the first `@`, and what is between it and the suffix.
fn prefix_and_instance(unit: &str) -> (&str, &str) {
    let name = unit.rsplit_once('.').map_or(unit, |(name, _)| name);

    name.split_once('@').unwrap_or((name, ""))
}
