//! Who does something in a world: clients, isolates, the object, the service.
//!
//! Without a coordinator, a [`RunClient`] asks an [`Isolate`], which runs migrations itself. With one, clients ask the
//! [`Object`]: whichever of its instances is current. A service reads and writes entries meanwhile.

mod damage;
mod instance;
mod isolate;
mod limited_client;
mod limits;
mod object;
mod object_client;
mod object_storage;
mod run_client;
mod service;

pub use damage::damage_rows;
pub use isolate::Isolate;
pub use limited_client::{ask_within, migrate_within};
pub use object::{Object, call_alarms};
pub use object_client::{ask_until_finished, ask_while_faulty};
pub use run_client::{RunClient, run_until_finished};
pub use service::serve;
