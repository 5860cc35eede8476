//! The access to the service inside that every tower service has.

/// `get_ref`, `get_mut` and `into_inner` of a service whose parameter `S` and field `inner` are the one inside.
macro_rules! inner_access {
    ($service:ident<$($parameter:ident),*>) => {
        impl<$($parameter),*> $service<$($parameter),*> {
            /// The service inside.
            pub const fn get_ref(&self) -> &S {
                &self.inner
            }

            /// The service inside.
            pub const fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// The service inside.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }
    };
}

pub(crate) use inner_access;
