#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "weft/random.h"
#include "weft/tensor.h"

namespace weft {

/// While it lives it notes what this thread's calls change: leaves' grad(), running statistics and the default
/// generator. Where an exception leaves its scope, all of that becomes as it was; a scope inside another takes back its
/// own part.
class Rollback {
 public:
  Rollback();
  ~Rollback();
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

  void undo() noexcept;

  /// Before leaf->grad changes.
  static void note_gradient(const std::shared_ptr<TensorState>& leaf);
  /// Before the elements of a dense array change. On the CPU only: elsewhere a copy costs as much as the layer.
  static void note_values(const Array& array);

 private:
  struct Change {
    std::shared_ptr<TensorState> leaf;  // null: `values` were `before`
    Tensor gradient;
    Array values, before;
  };

  Rollback& outermost_;  // holds the changes of all scopes inside it
  std::vector<Change> changes_;
  std::size_t first_;  // of this scope's changes
  Generator generator_;
  int exceptions_;  // that were on their way when the scope began
};

}  // namespace weft
