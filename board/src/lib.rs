//! board.
