//! What the cluster may become: the decisions of the active controller.
