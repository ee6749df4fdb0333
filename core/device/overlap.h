#pragma once

#include "core/device/backend.h"

namespace weft {

/// The axes of out += in split for work in parallel where positions of out may overlap: indices of the axes `apart`
/// never reach one position whatever the other indices are; `meeting` ones, in row-major order, may, and are walked in
/// order. Strides count elements; both start at the views' first elements.
struct OverlapSplit {
  Shape apart, meeting;
  Strides apart_out, apart_in, meeting_out, meeting_in;
};
OverlapSplit split_overlap(const ConstView& in, const View& out);

/// False where at most kFewMeetings elements of a view lie at any one position; true where more may.
inline constexpr std::int64_t kFewMeetings = 16;
bool many_meet(const Shape& shape, const Strides& strides);

}  // namespace weft
