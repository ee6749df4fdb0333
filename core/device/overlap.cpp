#include "core/device/overlap.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <numeric>

namespace weft {

namespace {

/// Whether axis `a` is apart from the others: its steps are longer than all of theirs together, or all of its steps
/// together shorter than the spacing of theirs.
bool is_apart(const Shape& shape, const Strides& strides, int a) {
  std::int64_t extent = 0, spacing = 0;
  for (int k = 0; k < shape.rank(); ++k) {
    if (k == a) continue;
    extent += (shape[k] - 1) * std::abs(strides[k]);
    spacing = std::gcd(spacing, strides[k]);
  }
  const std::int64_t step = std::abs(strides[a]);
  return step > extent || (step != 0 && (shape[a] - 1) * step < spacing);
}

}  // namespace

OverlapSplit split_overlap(const ConstView& in, const View& out) {
  OverlapSplit split;
  for (int a = 0; a < out.rank(); ++a) {
    if (out.shape[a] == 1) continue;
    split.meeting.push_back(out.shape[a]);
    split.meeting_out.push_back(out.strides[a]);
    split.meeting_in.push_back(in.strides[a]);
  }
  for (int a = 0; a < split.meeting.rank();) {
    if (!is_apart(split.meeting, split.meeting_out, a)) {
      ++a;
      continue;
    }
    split.apart.push_back(split.meeting[a]);
    split.apart_out.push_back(split.meeting_out[a]);
    split.apart_in.push_back(split.meeting_in[a]);
    split.meeting.erase(a);
    split.meeting_out.erase(a);
    split.meeting_in.erase(a);
    a = 0;
  }
  return split;
}

bool many_meet(const Shape& shape, const Strides& strides) {
  if (element_count(shape) == 0) return false;
  std::array<int, kMaxRank> order{};
  std::iota(order.begin(), order.begin() + shape.rank(), 0);
  std::stable_sort(order.begin(), order.begin() + shape.rank(), [&](int a, int b) { return shape[a] > shape[b]; });
  // Elements of the axes that are kept never meet, so at most one of them for each index of the others is at a
  // position.
  View kept;
  std::int64_t meetings = 1;
  for (int i = 0; i < shape.rank(); ++i) {
    const int axis = order[static_cast<std::size_t>(i)];
    View tried = kept;
    tried.shape.push_back(shape[axis]);
    tried.strides.push_back(strides[axis]);
    if (split_overlap(tried, tried).meeting.empty()) {
      kept = tried;
    } else if (shape[axis] > kFewMeetings / meetings) {
      return true;
    } else {
      meetings *= shape[axis];
    }
  }
  return false;
}

}  // namespace weft
