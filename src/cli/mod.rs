//! The technician's commands.
