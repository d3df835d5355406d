//! Real cgroups: on this host as it is, and where one sees v2 alone. Needs root.

#[cfg(test)]
mod devices;
#[cfg(test)]
mod ground;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
