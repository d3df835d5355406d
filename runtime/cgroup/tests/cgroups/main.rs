//! Real cgroups: on this host as it is, and where one sees v2 alone. Needs root.

mod devices;
mod ground;
mod life;
mod limits;
