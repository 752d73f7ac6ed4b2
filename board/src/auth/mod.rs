//! Who is asking, and whether they may.

mod cookie;
mod login;
mod password;
mod session;
mod throttle;

pub(crate) use cookie::{cleared_cookie, session_cookie, session_token};
pub(crate) use login::{
    __path_enter, __path_log_in, __path_log_out, __path_me, __path_who, enter, log_in, log_out, me, who,
};
pub use password::{MAX_PASSWORD, MIN_PASSWORD, PasswordError, hash_password};
pub(crate) use session::{CSRF_HEADER, Session};
pub(crate) use throttle::{Peer, Throttle};
