#pragma once

#include <span>

#include "weft/error.h"
#include "weft/tensor.h"

namespace weft {

/// Thrown by what happens once and must not be part of a recording, which every replay would do again. A StepGraph that
/// records runs the step as an ordinary one instead, and records the next run.
class NotRecordable final : public Error {
 public:
  using Error::Error;
};

/// Whether a StepGraph of this thread records.
bool is_recording();

/// States that what this thread's StepGraph records holds for the tensors' requires_grad as it is now: once one has
/// changed, the StepGraph records anew. Nothing happens where none records.
void record_for(std::span<const Tensor> parameters);

}  // namespace weft
