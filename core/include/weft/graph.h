#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "weft/array.h"
#include "weft/error.h"
#include "weft/random.h"

namespace weft {

class Replay;
class Rollback;
struct TensorState;

/// Work that is the same every time, a training step above all, run again and again. On a GPU the first run is an
/// ordinary one, the second is recorded as a CUDA graph, and that and all later ones launch the graph: one launch
/// instead of hundreds, the same bits. Where there is too little memory to record the step, that run calls it a second
/// time, as an ordinary one, and the next tries again. On the CPU every run is an ordinary one.
///
/// The step must do the same work on the same arrays each time and must not look at values on the host. What changes
/// from run to run lies in device memory: an Optimizer's learning rate and step counts do, and random numbers of the
/// default generator go on from run to run. The parameters that have gradients are the recording's: a replay steps
/// those and no others. When requires_grad of a parameter of an Optimizer that was recorded changes, the next run
/// records anew, and when a parameter has its first gradient in a run that is recorded, that run calls the step a
/// second time, as an ordinary one. Any other change of what the step does needs reset(). Arrays that the step reads
/// and writes but does not make itself must outlive the StepGraph, in place (Module::to replaces them). What it makes,
/// a parameter's grad() among it, is that of the last run only as long as no ordinary run comes between.
class StepGraph {
 public:
  /// Not enabled: every run is an ordinary one.
  explicit StepGraph(const Device& device, bool enabled = true);
  ~StepGraph();
  StepGraph(const StepGraph&) = delete;
  StepGraph& operator=(const StepGraph&) = delete;

  /// What the step throws is passed on; the next run then starts over with an ordinary one.
  void run(const std::function<void()>& step);
  /// Forgets the recording, after a change of what the step does.
  void reset();
  bool is_captured() const { return replay_ != nullptr; }
  /// Returns how many kernels, copies and fills a replay has; 0 before the capture.
  std::int64_t nodes() const;

 private:
  /// False where memory is short for a recording; everything but the step's own variables is then as it was.
  bool capture(const std::function<void()>& step, Rollback& changes);
  /// Whether requires_grad of the parameters is what it was when they were recorded.
  bool has_its_parameters() const;

  Device device_;
  bool enabled_;
  bool warm_ = false;
  std::unique_ptr<Replay> replay_;
  std::vector<std::pair<std::weak_ptr<TensorState>, bool>> parameters_;  // of recorded optimizers, and requires_grad
  Array random_base_;                  // u64 as i64, on the device: the generator's offset as the next replay sees it
  std::uint64_t random_blocks_ = 0;    // that one run uses
  std::uint64_t expected_offset_ = 0;  // of the generator, if nobody else drew since
  std::uint64_t seed_ = 0, stream_ = 0;
};

/// Thrown by a call that happens once and must not be part of a recording, which every replay would do again. A
/// StepGraph that records runs the step as an ordinary one instead, and records the next run.
class NotRecordable final : public Error {
 public:
  using Error::Error;
};

/// Returns whether a StepGraph of this thread records.
bool is_recording();

/// States that the recording of this thread's StepGraph holds for the tensors' requires_grad as it is now. The
/// StepGraph records anew after one has changed. Nothing happens where none records.
void record_for(std::span<const Tensor> parameters);

}  // namespace weft
