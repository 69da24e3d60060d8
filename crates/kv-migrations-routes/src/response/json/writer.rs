//! Writes reports as JSON.
//!
//! `serde_json::to_vec` writes the same. It would compile the comma, the name and the end of a field again for each type of
//! value, which makes it several times as large. Escapes are left to `serde_json`.

use std::fmt;

use serde::ser::{Error, Impossible, Serialize, SerializeSeq, SerializeStruct, Serializer};

/// JSON, as far as it is written.
#[derive(Default)]
pub(super) struct JsonWriter {
    pub(super) json: Vec<u8>,
}

/// Reports consist of structs, lists, text, numbers and booleans. Nothing else is written.
#[derive(Debug)]
pub(super) struct Unsupported;

impl JsonWriter {
    fn raw(&mut self, json: &str) {
        self.json.extend_from_slice(json.as_bytes());
    }

    /// Begins an element of a list, or a field. The first has no comma before it.
    fn next(&mut self) {
        if !matches!(self.json.last(), Some(b'[' | b'{')) {
            self.raw(",");
        }
    }

    fn name(&mut self, name: &str) {
        self.next();
        self.raw("\"");
        self.raw(name);
        self.raw("\":");
    }

    fn text(&mut self, text: &str) {
        self.raw(&serde_json::to_string(text).unwrap_or_default());
    }
}

impl<'a> Serializer for &'a mut JsonWriter {
    type Ok = ();
    type Error = Unsupported;
    type SerializeSeq = &'a mut JsonWriter;
    type SerializeStruct = &'a mut JsonWriter;
    type SerializeTuple = Impossible<(), Unsupported>;
    type SerializeTupleStruct = Impossible<(), Unsupported>;
    type SerializeTupleVariant = Impossible<(), Unsupported>;
    type SerializeMap = Impossible<(), Unsupported>;
    type SerializeStructVariant = Impossible<(), Unsupported>;

    fn serialize_bool(self, value: bool) -> Result<(), Unsupported> {
        self.raw(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Unsupported> {
        self.raw(&format!("{value}"));
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Unsupported> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Unsupported> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Unsupported> {
        self.serialize_u64(value.into())
    }

    fn serialize_str(self, value: &str) -> Result<(), Unsupported> {
        self.text(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unsupported> {
        self.raw("null");
        Ok(())
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), Unsupported> {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &str, _: u32, variant: &'static str) -> Result<(), Unsupported> {
        self.text(variant);
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unsupported> {
        self.raw("[");
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unsupported> {
        self.raw("{");
        Ok(self)
    }

    fn serialize_i8(self, _: i8) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_i16(self, _: i16) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_i32(self, _: i32) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_i64(self, _: i64) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_char(self, _: char) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_unit(self) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unsupported> {
        Err(Unsupported)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unsupported> {
        Err(Unsupported)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unsupported> {
        Err(Unsupported)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsupported> {
        Err(Unsupported)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        Err(Unsupported)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unsupported> {
        Err(Unsupported)
    }
}

impl SerializeSeq for &mut JsonWriter {
    type Ok = ();
    type Error = Unsupported;

    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.next();
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Unsupported> {
        self.raw("]");
        Ok(())
    }
}

impl SerializeStruct for &mut JsonWriter {
    type Ok = ();
    type Error = Unsupported;

    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unsupported> {
        self.name(name);
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Unsupported> {
        self.raw("}");
        Ok(())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a report has a value of this type")
    }
}

impl std::error::Error for Unsupported {}

impl Error for Unsupported {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use kv_migrations::coordinator::HistoryEntry;
    use kv_migrations::{Event, RollbackReport, RunReport, Status};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::super::to_json;
    use super::*;

    /// Reads a report of these fields, and writes it.
    fn assert_is_written<T: DeserializeOwned + Serialize>(fields: &Value) {
        let report: T = serde_json::from_value(fields.clone()).expect("the fields are those of a report");
        let written = String::from_utf8(to_json(&report)).expect("it is text");
        assert_eq!(written, serde_json::to_string(&report).expect("it can be written"));
        let read: Value = serde_json::from_str(&written).expect("what is written is JSON");
        assert_eq!(&read, fields, "a field is missing");
    }

    fn progress() -> Value {
        let counts = json!({ "seen": 4, "changed": 3, "moved": 2, "left": u64::MAX });
        json!({
            "direction": "down", "phase": "sweep", "done": 1, "total": 2, "failed": 3, "entries": counts,
            "entriesPerSecond": 4, "requests": 5, "operations": 6, "durationMs": 7,
            "startedAt": "2026-11-22T10:48:28.706Z", "checkpointAt": "2026-11-22T10:48:29.000Z",
        })
    }

    fn applied() -> Value {
        json!({
            "id": "001_\"a\"\\\u{1}\n/ü😀", "durationMs": 1, "operations": 2,
            "entries": { "seen": 1, "changed": 0, "moved": 0, "left": 1 },
            "failedEntries": [{ "key": "user:\t1", "reason": "line\r\nbreak" }, { "key": "", "reason": "" }],
            "moreFailedEntries": 3,
        })
    }

    #[test]
    fn a_report_is_written_as_serde_json_writes_it() {
        assert_is_written::<RunReport>(&json!({
            "ran": ["001_a", "002_b"], "skipped": [], "details": [applied(), applied()], "outOfOrder": ["002_b"],
            "missing": ["000"], "unfinished": ["0"], "missingUnknown": true, "warnings": ["w"], "operations": 0,
            "remaining": ["003"], "progress": progress(), "quotaExhausted": true,
        }));
        assert_is_written::<RollbackReport>(&json!({
            "rolledBack": "001_a", "durationMs": 1, "operations": 2, "entries": progress()["entries"],
            "failedEntries": applied()["failedEntries"], "progress": progress(), "quotaExhausted": true,
        }));
        assert_is_written::<Vec<HistoryEntry>>(&json!([{
            "number": 7, "action": "migrate", "by": "me", "startedAt": "a", "endedAt": "b", "outcome": "cancelled",
            "migration": "001_a", "ran": ["001_a"], "details": [applied()], "outOfOrder": ["001_a"],
            "missing": ["0"], "unfinished": ["1"], "warnings": ["w"], "steps": 4, "durationMs": 1, "operations": 2,
            "failedAttempts": 1, "failures": [{ "at": "a", "error": "e" }], "joined": 2,
            "interventions": [{ "at": "b", "action": "pause", "by": "me" }],
        }]));
    }

    #[test]
    fn a_status_is_written_as_serde_json_writes_it() {
        let least = json!({ "id": "2", "run": false, "state": "pending", "reversible": false, "kind": "plain", "resumable": false });
        assert_is_written::<Vec<Status>>(&json!([]));
        assert_is_written::<Vec<Status>>(&json!([
            {
                "id": "001_a", "run": true, "description": "A", "state": "applied", "runAt": "a", "durationMs": 1,
                "operations": 2, "entries": progress()["entries"], "failed": 3, "failedKeys": ["k", "l"],
                "outOfOrder": true, "reversible": true, "kind": "plain", "resumable": false, "error": "e", "progress": progress(), "retryAt": "r",
            },
            least,
        ]));
    }

    #[test]
    fn an_event_is_written_as_serde_json_writes_it() {
        let mut with_details = applied();
        with_details["event"] = "applied".into();
        for event in [
            json!({ "event": "started", "id": "001_a", "description": "" }),
            json!({ "event": "progress", "id": "001_a", "progress": progress() }),
            with_details,
            json!({ "event": "paused", "id": "001_a" }),
            json!({ "event": "failed", "id": "001_a", "error": "e" }),
        ] {
            assert_is_written::<Event>(&event);
        }
    }
}
