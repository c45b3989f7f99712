//! Decodes the JSON of fleet's HTTP API into rows. It knows neither sockets nor HTTP: it is pure,
//! and no bytes can make it panic.
//!
//! The rows are the same, column for column, as `fleetctl` lists for the same cluster. The JSON
//! objects are those of fleet's `schema/v1.json`. fleetd omits members that are empty, also whole
//! lists, so that `{}` is an empty page.

mod collator;
mod rows;
#[cfg(test)]
mod tests;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::unit_file::UnitOption;
pub(super) use collator::PageCollator;

/// The JSON member of a page that holds the token of the next page.
const NEXT_PAGE: &str = "nextPageToken";

/// A row of one of fleet's lists.
pub(super) trait ApiRow: Sized {
    /// The last part of the list's path.
    const PATH: &'static str;
    /// The JSON member of a page that holds the rows.
    const MEMBER: &'static str;
    /// The row as fleetd writes it.
    type Json: DeserializeOwned + Into<Self>;
    /// What identifies a row from one read to the next. Lists are sorted by it, as fleetctl sorts
    /// them.
    type Id: Ord;
    /// Whether a list that may lack rows is used if no complete one can be read; if not, the poll
    /// fails. It is used for unit states: the cluster does not remove a row because one list lacks
    /// it.
    const MAY_LACK_ROWS: bool;

    /// What identifies this row in its list, on all pages.
    fn id(&self) -> Self::Id;
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ListPage<R> {
    /// Its rows, in fleetd's order.
    pub(super) rows: Vec<R>,
    /// The token of the next page. `None` on the last page.
    pub(super) next: Option<String>,
}

/// Why a body is not a page.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// It is not JSON.
    #[error("not JSON")]
    NotJson,
    /// It is JSON, but not a page of the requested list, with the reason.
    #[error("JSON, but not fleet's: {0}")]
    NotFleet(String),
}

/// Decodes a page of a list.
pub(super) fn decode_page<R: ApiRow>(body: &[u8]) -> Result<ListPage<R>, WireError> {
    let page: PageJson<R> =
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => WireError::NotFleet(error.to_string()),
            _ => WireError::NotJson,
        })?;

    Ok(ListPage {
        rows: page.rows.into_iter().map(Into::into).collect(),
        next: page.next.filter(|token| !token.is_empty()),
    })
}

/// Decodes the answer for one unit: the options of its file. `None` if it is not such an answer, or
/// one for another unit. An error would quote the file.
pub(super) fn decode_unit(unit: &str, body: &[u8]) -> Option<Vec<UnitOption>> {
    #[derive(Deserialize)]
    struct SingleUnit {
        name: String,
        options: Vec<UnitOption>,
    }
    let answer: SingleUnit = serde_json::from_slice(body).ok()?;

    (answer.name == unit && !answer.options.is_empty()).then_some(answer.options)
}

/// The message in the body of an error, `{"error":{"code":N,"message":"…"}}`. It is often empty.
/// `None` if the body is not such an object.
pub(super) fn error_message(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: ErrorJson,
    }
    #[derive(Deserialize)]
    struct ErrorJson {
        #[serde(default)]
        message: String,
    }
    let body: ErrorBody = serde_json::from_slice(body).ok()?;
    Some(body.error.message)
}

/// A page as fleetd writes it.
struct PageJson<R: ApiRow> {
    rows: Vec<R::Json>,
    next: Option<String>,
}

impl<'de, R: ApiRow> Deserialize<'de> for PageJson<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PageVisitor(PhantomData))
    }
}

/// Decodes a page. The name of the member with the rows depends on the list ([`ApiRow::MEMBER`]).
struct PageVisitor<R>(PhantomData<R>);

impl<'de, R: ApiRow> Visitor<'de> for PageVisitor<R> {
    type Value = PageJson<R>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object with {:?}", R::MEMBER)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut page = PageJson { rows: Vec::new(), next: None };
        let mut has_known = false;
        let mut unknown = None;

        while let Some(member) = map.next_key::<String>()? {
            if member == R::MEMBER {
                page.rows = map.next_value::<Option<Vec<R::Json>>>()?.unwrap_or_default();
                has_known = true;
            } else if member == NEXT_PAGE {
                page.next = map.next_value()?;
                has_known = true;
            } else {
                map.next_value::<IgnoredAny>()?;
                unknown = Some(member);
            }
        }

        match unknown {
            // An empty object is an empty list. One that has only other members is not a list.
            Some(member) if !has_known => {
                Err(serde::de::Error::unknown_field(&member, &[R::MEMBER, NEXT_PAGE]))
            }
            _ => Ok(page),
        }
    }
}
