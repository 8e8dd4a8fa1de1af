"""What leaves the control plane, and what is no longer kept: notifications, exports, retention."""
