//! The way of a request, whatever protocol its client speaks, one file a stage, each taking what the one before it gave:
//! route → (filters) → (a tower stack of [`forward`](crate::forward)) → respond → outcome.

pub(crate) mod outcome;
pub(crate) mod respond;
pub(crate) mod route;
pub(crate) mod tunnel;
pub(crate) mod walk;
