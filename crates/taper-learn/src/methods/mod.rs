//! A method as a struct of its settings ([`TypedMethod`]), and behind one type for a registry ([`Registered`]).

mod method;
mod overrides;

pub use method::{
    ConfiguredMethod, Context, Kind, Method, MethodInfo, MethodSettings, OWN, Registered, SettingInfo, SettingValues,
    Training, TypedMethod, is_own, network_part, own_params,
};
pub use overrides::SettingOverrides;
