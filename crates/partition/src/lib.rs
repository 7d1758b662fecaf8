//! One partition kept alike on leader and followers.
