#pragma once

#include <memory>

#include "weft/rollback.h"

/// What a Rollback of this thread can take back is noted before it changes; nothing happens where there is none.
namespace weft {

/// Before leaf->grad changes.
void note_gradient(const std::shared_ptr<TensorState>& leaf);
/// Before the elements of a dense array change. On the CPU only: elsewhere a copy costs as much as the layer.
void note_values(const Array& array);

}  // namespace weft
