// A one-dimensional grid of 64-wide workgroups, folded over two dimensions so that it may pass the limit of
// 65,535 workgroups in one of them.

/// Index of this invocation in the unfolded grid.
fn linear_index(id: vec3u, groups: vec3u) -> u32 {
  return id.x + id.y * groups.x * 64u;
}

/// The same where workgroups are of another size.
fn index_in(id: vec3u, groups: vec3u, workgroup: u32) -> u32 {
  return id.x + id.y * groups.x * workgroup;
}

/// Index of this workgroup in the unfolded grid.
fn linear_group(group: vec3u, groups: vec3u) -> u32 {
  return group.x + group.y * groups.x;
}
