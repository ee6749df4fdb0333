#include "weft/nn/ema.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "layers/check.h"
#include "layers/load_report.h"
#include "weft/graph.h"
#include "weft/ops.h"

namespace weft::nn {
namespace {

/// The dtype of the average of a tensor: no narrower than f32, because small changes would be rounded away.
DType average_dtype(DType dtype) { return is_floating_point(dtype) ? promote(dtype, DType::f32) : dtype; }

/// A copy of `array` with the device and the order of axes of `like`.
Array copied(const Array& array, const Array& like, DType dtype) {
  Array out = Array::empty_like(like.layout(), dtype, like.device());
  out.copy_from(array);
  return out;
}

bool is_average_of(const Array& average, const Array& value) {
  return average.device() == value.device() && average.dtype() == average_dtype(value.dtype());
}

}  // namespace

EMA::EMA(const Module& module, const EMAOptions& options) : tensors_(module.named_parameters()), options_(options) {
  require(options.decay >= 0 && options.decay <= 1, "EMA", "decay", "in [0, 1]", options.decay);
  for (auto& entry : module.named_buffers()) tensors_.push_back(std::move(entry));
  if (tensors_.empty()) throw ValueError("EMA: the module has no parameters and no buffers");
  for (const auto& entry : tensors_) {
    const Array& value = entry.second.array();
    averages_.push_back(copied(value, value, average_dtype(value.dtype())));
  }
  updates_ = Array::full({}, 0, DType::i64, averages_.front().device());
}

void EMA::follow() {
  std::vector<Array> averages = averages_;
  bool moved = false;
  for (std::size_t i = 0; i < averages.size(); ++i) {
    const Array& value = tensors_[i].second.array();
    if (is_average_of(averages[i], value)) continue;
    if (is_recording()) throw NotRecordable("EMA: averages that follow a module cannot be recorded");
    averages[i] = copied(averages[i], value, average_dtype(value.dtype()));
    moved = true;
  }
  if (!moved) return;
  updates_ = updates_.to(averages.front().device());
  averages_ = std::move(averages);
}

void EMA::update() {
  if (evaluating_) throw ValueError("EMA::update: the module holds the averages of an Evaluation");
  follow();
  const NoGrad no_grad;
  const Tensor n = Tensor(updates_).to(DType::f64);
  const Tensor most = Tensor(Array::full({}, options_.decay, DType::f64, updates_.device()));
  const Tensor weight = 1.0 - (options_.warmup ? minimum((n + 1.0) / (n + 10.0), most) : most);
  std::vector<Array> next;  // all are made before any is written
  for (std::size_t i = 0; i < averages_.size(); ++i) {
    const Tensor value = tensors_[i].second.detach(), average(averages_[i]);
    if (!is_floating_point(average.dtype())) {
      next.push_back(value.array());
      continue;
    }
    const Tensor share = weight.to(average.device()).to(average.dtype());
    next.push_back((average + (value.to(average.dtype()) - average) * share).array());
  }
  const Array count = (Tensor(updates_) + 1).array();
  for (std::size_t i = 0; i < averages_.size(); ++i) averages_[i].copy_from(next[i]);
  updates_.copy_from(count);
}

EMA::Evaluation::Evaluation(EMA& ema) : ema_(ema) {
  if (ema.evaluating_) throw ValueError("EMA::Evaluation: another one lives");
  if (is_recording()) throw NotRecordable("EMA::Evaluation: values that are put back cannot be recorded");
  std::vector<Array> averages;  // as the module has its values now; made before any value is written
  for (std::size_t i = 0; i < ema.tensors_.size(); ++i) {
    values_.push_back(ema.tensors_[i].second.array());
    before_.push_back(values_.back().clone());
    averages.push_back(ema.averages_[i].to(values_.back().device()).to(values_.back().dtype()));
  }
  for (std::size_t i = 0; i < values_.size(); ++i) values_[i].copy_from(averages[i]);
  ema.evaluating_ = true;
}

EMA::Evaluation::~Evaluation() {
  ema_.evaluating_ = false;
  try {
    for (std::size_t i = 0; i < values_.size(); ++i) values_[i].copy_from(before_[i]);
  } catch (const Error&) {  // Copies need no memory: the device failed, and the next call on it says so.
  }
}

StateDict EMA::state_dict() const {
  StateDict state{{"updates", updates_}};
  for (std::size_t i = 0; i < averages_.size(); ++i) state.emplace("average." + tensors_[i].first, averages_[i]);
  return state;
}

void EMA::load_state_dict(const StateDict& state) {
  LoadReport report("EMA::load_state_dict");
  const StateDict own = state_dict();
  std::vector<std::pair<Array, Array>> copies;
  for (const auto& [name, array] : own) {
    const auto found = state.find(name);
    if (found == state.end()) {
      report.missing(name);
    } else if (report.fits(name, found->second, array.shape())) {
      copies.emplace_back(array, found->second);
    }
  }
  for (const auto& entry : state) {
    if (own.count(entry.first) == 0) report.unexpected(entry.first);
  }
  const auto updates = state.find("updates");
  if (updates != state.end() && updates->second.defined() && updates->second.size() == 1) {
    const double count = updates->second.item<double>();
    const bool is_count = count >= 0 && count <= 0x1p53 && count == std::trunc(count);
    if (!is_count) report.mismatch("updates", " is " + to_string(Scalar(count)));
  }
  report.throw_if_any();
  for (auto& [target, source] : copies) source = copied(source, target, target.dtype());
  for (auto& [target, source] : copies) target.copy_from(source);
}

}  // namespace weft::nn
