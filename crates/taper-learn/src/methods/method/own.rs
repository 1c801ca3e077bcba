//! What a method learns besides the network, kept in the same [`State`] under a prefix of its own.

use taper_models::{Params, State};

/// The prefix of what a method learns besides the network, such as step sizes: `method.…`.
pub const OWN: &str = "method";

/// Returns `true` if a parameter of this name does not belong to the network.
pub fn is_own(name: &str) -> bool {
    name.strip_prefix(OWN).is_some_and(|rest| rest.starts_with('.'))
}

/// The network's part of a state.
pub fn network_part(state: &State) -> State {
    State { params: state.params.filter(|name| !is_own(name)), buffers: state.buffers.filter(|name| !is_own(name)) }
}

/// What a method learned besides the network, without the prefix.
pub fn own_params(params: &Params) -> Params {
    params.under(OWN)
}
