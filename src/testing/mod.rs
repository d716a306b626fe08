//! For tests, here and of users (feature `testing`): scenarios over the pure core, fakes for the ports, a store that fails on
//! purpose. The conformance kit for stores is [`crate::store::conformance`].

mod agent;
mod clock;
mod fault_store;
mod runtime;
mod scenario;

pub use agent::{FakeAgents, Reply};
pub use clock::ManualClock;
pub use fault_store::{Fault, FaultStore};
pub use runtime::{Answer, FakeRuntimes, Journaled};
pub use scenario::Scenario;
