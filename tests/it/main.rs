//! The one integration test binary. File names are guarantees.

mod store_contract;
