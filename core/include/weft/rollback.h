#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "weft/random.h"
#include "weft/tensor.h"

namespace weft {

/// Makes the calls of a scope one: all of them happen, or none. Where an exception leaves the scope, the grads of
/// leaves that this thread's calls changed, the running statistics on the CPU and the thread's default generator become
/// what they were when the Rollback was made. A scope within another takes back its own part.
class Rollback {
 public:
  Rollback();
  ~Rollback();
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;

  /// Takes back the changes of the scope so far.
  void undo() noexcept;

 private:
  friend void note_gradient(const std::shared_ptr<TensorState>& leaf);
  friend void note_values(const Array& array);

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
