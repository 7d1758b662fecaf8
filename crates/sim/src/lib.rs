//! Many nodes in one thread, in a made-up world.
