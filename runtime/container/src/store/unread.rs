//! A part of the state that few commands read.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::error::Error;

/// Its text: to decode these parts for each container of a list takes as long as all the rest of its
/// state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Unread(Box<RawValue>);

impl Unread {
    /// For the state of container `id`, where its name is `field`.
    pub fn new(id: &str, field: &str, value: &impl Serialize) -> Result<Unread, Error> {
        to_raw_value(value).map(Unread).map_err(|error| {
            let reason = format!("{field}: {error}");
            Error::State { id: id.to_owned(), reason }
        })
    }

    pub fn read<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        // From bytes, as all that is read from files: the other way would be in the program once more.
        serde_json::from_slice(self.0.get().as_bytes())
    }

    pub fn is_empty_object(&self) -> bool {
        self.0.get() == "{}"
    }
}
