#include "core/autograd/rollback.h"

#include <exception>

#include "core/autograd/autograd.h"
#include "core/device/backend.h"
#include "core/value/views.h"
#include "weft/error.h"

namespace weft {

namespace {

thread_local Rollback* outermost = nullptr;

}  // namespace

Rollback::Rollback()
    : outermost_(outermost == nullptr ? *this : *outermost),
      first_(outermost_.changes_.size()),
      generator_(default_generator()),
      exceptions_(std::uncaught_exceptions()) {
  outermost = &outermost_;
}

Rollback::~Rollback() {
  if (std::uncaught_exceptions() > exceptions_) undo();
  if (&outermost_ == this) outermost = nullptr;
}

void Rollback::undo() noexcept {
  std::vector<Change>& changes = outermost_.changes_;
  for (; changes.size() > first_; changes.pop_back()) {
    Change& change = changes.back();
    if (change.leaf != nullptr) {
      change.leaf->grad = std::move(change.gradient);
      continue;
    }
    try {
      backend(change.values.device())->copy(const_view(change.before), mutable_view(change.values));
    } catch (const Error&) {  // the device is broken
    }
    change.values.storage()->bump_version();
  }
  default_generator() = generator_;
}

void note_gradient(const std::shared_ptr<TensorState>& leaf) {
  if (outermost != nullptr) outermost->changes_.push_back({leaf, leaf->grad, {}, {}});
}

void note_values(const Array& array) {
  if (outermost == nullptr || !array.device().is_cpu()) return;
  outermost->changes_.push_back({nullptr, {}, array, array.clone()});
}

}  // namespace weft
