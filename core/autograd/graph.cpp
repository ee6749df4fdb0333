#include "weft/graph.h"

#include <algorithm>

#include "core/autograd/autograd.h"
#include "core/autograd/recording.h"
#include "core/device/backend.h"
#include "core/value/views.h"
#include "weft/error.h"
#include "weft/rollback.h"

namespace weft {

namespace {

using Parameters = std::vector<std::pair<std::weak_ptr<TensorState>, bool>>;

thread_local const RandomCapture* active_capture = nullptr;
thread_local Parameters* active_parameters = nullptr;

/// While it lives, draws of this thread are relative to a base on the device, and record_for() adds to `parameters`.
class Records {
 public:
  Records(const RandomCapture& capture, Parameters& parameters) {
    active_capture = &capture;
    active_parameters = &parameters;
  }
  ~Records() {
    active_capture = nullptr;
    active_parameters = nullptr;
  }
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
};

}  // namespace

const RandomCapture* random_capture() { return active_capture; }

bool is_recording() { return active_parameters != nullptr; }

void record_for(std::span<const Tensor> parameters) {
  if (active_parameters == nullptr) return;
  for (const Tensor& parameter : parameters) {
    active_parameters->emplace_back(state_of(parameter), parameter.requires_grad());
  }
}

StepGraph::StepGraph(const Device& device, bool enabled) : device_(device), enabled_(enabled && device.is_cuda()) {}

StepGraph::~StepGraph() = default;

void StepGraph::reset() {
  replay_.reset();
  warm_ = false;
}

std::int64_t StepGraph::nodes() const { return replay_ == nullptr ? 0 : replay_->nodes(); }

void StepGraph::run(const std::function<void()>& step) {
  if (!enabled_) return step();
  if (!warm_) {
    step();
    warm_ = true;
    return;
  }
  Generator& generator = default_generator();
  try {
    bool recorded =
        replay_ != nullptr && generator.seed() == seed_ && generator.stream() == stream_ && has_its_parameters();
    {
      Rollback changes;  // a recording that never runs leaves gradients that nothing has computed
      if (!recorded) recorded = capture(step, changes);
      if (recorded && random_blocks_ != 0 && generator.offset() != expected_offset_) {
        backend(device_)->fill(mutable_view(random_base_), static_cast<std::int64_t>(generator.offset()));
      }
      if (recorded) replay_->launch();
    }
    if (!recorded) return step();
  } catch (...) {
    reset();
    throw;
  }
  generator.advance(random_blocks_);
  expected_offset_ = generator.offset();
}

bool StepGraph::has_its_parameters() const {
  return std::all_of(parameters_.begin(), parameters_.end(), [](const auto& entry) {
    const std::shared_ptr<TensorState> parameter = entry.first.lock();
    return parameter != nullptr && parameter->requires_grad == entry.second;
  });
}

bool StepGraph::capture(const std::function<void()>& step, Rollback& changes) {
  replay_.reset();
  parameters_.clear();
  Generator& generator = default_generator();
  const std::uint64_t start = generator.offset();
  const BackendHandle device = backend(device_);
  try {
    if (!random_base_.defined()) random_base_ = Array::empty({}, DType::i64, device_);
    device->fill(mutable_view(random_base_), static_cast<std::int64_t>(start));
    replay_ = device->capture([&] {
      {
        const RandomCapture capture{device_, static_cast<const std::uint64_t*>(random_base_.data()), start};
        const Records scope(capture, parameters_);
        step();
      }
      random_blocks_ = generator.offset() - start;
      if (random_blocks_ == 0) return;
      const Array blocks = Array::full({}, static_cast<std::int64_t>(random_blocks_), DType::i64, device_);
      device->accumulate(const_view(blocks), mutable_view(random_base_));
    });
  } catch (const OutOfMemoryError&) {  // an ordinary run can give cached blocks back to make room
    changes.undo();
    return false;
  } catch (const NotRecordable&) {
    changes.undo();
    return false;
  }
  generator.set_offset(start);
  expected_offset_ = start;
  seed_ = generator.seed();
  stream_ = generator.stream();
  return true;
}

}  // namespace weft
