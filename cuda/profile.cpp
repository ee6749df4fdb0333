#include "cuda/profile.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <list>
#include <locale>
#include <map>
#include <mutex>
#include <tuple>
#include <utility>

#include "weft/error.h"

namespace weft::cuda::profile {

struct Pair {
  std::shared_ptr<Row> row;
  bool first = false;   // of the row
  bool closed = false;  // `end` is recorded
  runtime::Event start = nullptr, end = nullptr;
  runtime::Stream stream = nullptr;
};

namespace {

constexpr std::size_t kMostPairs = 1024;  // that wait to be read
constexpr std::ptrdiff_t kAhead = 4;      // launches that the host is ahead of the stream

/// What is measured on one device. Events and memory are kept until the process ends.
struct Lane {
  std::list<Pair> pairs;
  std::vector<runtime::Event> events;  // that no pair has
  float* word = nullptr;
};

struct State {
  std::mutex mutex;
  std::map<int, Lane> lanes;  // by CUDA's number of the device
  std::map<std::tuple<std::string, const void*, int>, std::shared_ptr<Row>> rows;
  std::map<std::string, int> instances;
  std::string file;
  bool registered = false;  // the exit handler
  double empty_us = 0;
  std::int64_t untimed = 0, recorded = 0;
};

std::string wanted_file() {
  const char* const file = std::getenv("WEFT_CUDA_PROFILE");
  return file == nullptr ? "" : file;
}

// Never destroyed: objects with static lifetime may launch kernels when they are destroyed.
State& state() {
  static State& instance = *[] {
    auto* const made = new State;
    made->file = wanted_file();
    return made;
  }();
  return instance;
}

runtime::Event take_event(Lane& lane) {
  if (lane.events.empty()) return runtime::create_event();
  const runtime::Event event = lane.events.back();
  lane.events.pop_back();
  return event;
}

void give_back(Lane& lane, const Pair& pair) {
  for (const runtime::Event event : {pair.start, pair.end}) {
    if (event != nullptr) lane.events.push_back(event);
  }
}

// Waits for the closed pairs and adds their times to their rows.
void collect(State& s, Lane& lane) {
  for (auto pair = lane.pairs.begin(); pair != lane.pairs.end();) {
    if (!pair->closed) {
      ++pair;
      continue;
    }
    try {
      runtime::synchronize(pair->end);
      const double us = 1e3 * static_cast<double>(runtime::elapsed(pair->start, pair->end));
      if (pair->first) {
        pair->row->first_us = us;
      } else {
        pair->row->us += us;
        ++pair->row->timed;
      }
    } catch (const Error&) {
      ++s.untimed;
    }
    give_back(lane, *pair);
    pair = lane.pairs.erase(pair);
  }
}

// The median of nine pairs with nothing between.
double empty_pair_us(Lane& lane, runtime::Stream stream) {
  constexpr int kPairs = 9;
  std::vector<runtime::Event> events;
  std::vector<float> milliseconds;
  for (int i = 0; i < 2 * kPairs; ++i) events.push_back(take_event(lane));
  delay(lane.word, stream);
  for (const runtime::Event event : events) runtime::record(event, stream);
  runtime::synchronize(events.back());
  for (std::size_t i = 0; i < events.size(); i += 2) {
    milliseconds.push_back(runtime::elapsed(events[i], events[i + 1]));
  }
  std::sort(milliseconds.begin(), milliseconds.end());
  lane.events.insert(lane.events.end(), events.begin(), events.end());
  return 1e3 * static_cast<double>(milliseconds[kPairs / 2]);
}

void write_at_exit() {
  const std::string file = state().file;
  if (file.empty()) return;
  try {
    write(file, stop());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "weft: the profile is lost: %s\n", error.what());
  }
}

Lane& lane_of(State& s, runtime::Stream stream) {
  // Handlers run in the reverse order: this one comes before that of the CUDA runtime, which has begun by now.
  if (!std::exchange(s.registered, true)) std::atexit(write_at_exit);
  Lane& lane = s.lanes[runtime::current_device()];
  if (lane.word != nullptr) return lane;
  constexpr std::size_t kBytes = 256;
  lane.word = static_cast<float*>(runtime::allocate(kBytes, stream));
  if (lane.word == nullptr) throw OutOfMemoryError("cuda: no memory for the profile's 256 bytes");
  s.empty_us = empty_pair_us(lane, stream);
  return lane;
}

// An event that the stream passes before the kernel is enqueued would count the host's time, so the host has to be
// ahead.
void keep_busy(const Lane& lane, runtime::Stream stream) {
  const bool few = std::ssize(lane.pairs) < kAhead;
  if (few || runtime::is_finished(std::prev(lane.pairs.end(), kAhead)->end)) delay(lane.word, stream);
}

std::shared_ptr<Row> row_of(State& s, const char* name, const void* kernel, int threads) {
  std::shared_ptr<Row>& row = s.rows[{name, kernel, threads}];
  if (row != nullptr) return row;
  row = std::make_shared<Row>();
  row->name = name;
  row->instance = ++s.instances[name];
  row->threads = threads;
  // This loads the kernel's code too, which the first launch would do otherwise.
  if (kernel != nullptr) row->facts = runtime::kernel_facts(kernel, threads);
  return row;
}

std::string demangled(const std::string& name) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> text(abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status),
                                                    std::free);
  return text == nullptr ? name : text.get();
}

// Names are identifiers and words: nothing in them has to be escaped.
void write_row(std::ostream& out, const Row& row, double all_us) {
  out << R"({"what": "kernel", "name": ")" << row.name << R"(", "instance": )" << row.instance << R"(, "count": )"
      << row.count << R"(, "timed": )" << row.timed << R"(, "us": )" << row.us << R"(, "share": )"
      << (all_us > 0 ? row.us / all_us : 0) << R"(, "mean_us": )"
      << (row.timed > 0 ? row.us / static_cast<double>(row.timed) : 0) << R"(, "first_us": )" << row.first_us;
  if (row.threads > 0) {
    out << R"(, "blocks": )" << row.blocks << R"(, "threads": )" << row.threads << R"(, "registers": )"
        << row.facts.registers << R"(, "shared_bytes": )" << row.facts.shared_bytes << R"(, "local_bytes": )"
        << row.facts.local_bytes << R"(, "occupancy": )" << row.facts.occupancy;
  }
  if (!row.facts.function.empty()) out << R"(, "function": ")" << demangled(row.facts.function) << '"';
  out << "}\n";
}

}  // namespace

std::atomic<bool> on{!wanted_file().empty()};

void start(const std::string& file) {
  stop();
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.file = file;
  s.rows.clear();
  s.instances.clear();
  s.untimed = s.recorded = 0;
  on = true;
}

Profile stop() {
  on = false;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  for (auto& [device, lane] : s.lanes) collect(s, lane);
  Profile profile{.rows = {}, .empty_us = s.empty_us, .untimed = s.untimed, .recorded = s.recorded};
  for (const auto& [key, row] : s.rows) profile.rows.push_back(*row);
  std::stable_sort(profile.rows.begin(), profile.rows.end(), [](const Row& a, const Row& b) { return a.us > b.us; });
  return profile;
}

void write(const std::string& file, const Profile& profile) {
  double all_us = 0;
  std::int64_t launches = 0;
  for (const Row& row : profile.rows) {
    all_us += row.us;
    launches += row.count;
  }
  std::ofstream out(file);
  out.imbue(std::locale::classic());
  out << std::fixed << std::setprecision(3) << R"({"what": "profile", "launches": )" << launches << R"(, "us": )"
      << all_us << R"(, "empty_us": )" << profile.empty_us << R"(, "untimed": )" << profile.untimed
      << R"(, "recorded": )" << profile.recorded << "}\n";
  for (const Row& row : profile.rows) write_row(out, row, all_us);
  out.flush();
  if (!out) throw IoError("the profile cannot be written to " + file);
}

void Scope::begin(const char* name, runtime::Stream stream, const void* kernel, std::int64_t blocks,
                  int threads) noexcept {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  try {
    if (runtime::is_capturing(stream)) {
      ++s.recorded;
      return;
    }
    Lane& lane = lane_of(s, stream);
    if (lane.pairs.size() >= kMostPairs) collect(s, lane);
    std::shared_ptr<Row> row = row_of(s, name, kernel, threads);
    const auto before = static_cast<double>(row->count++);
    row->blocks += (static_cast<double>(blocks) - row->blocks) / (before + 1);
    keep_busy(lane, stream);
    Pair& pair = lane.pairs.emplace_back(Pair{.row = row, .first = row->count == 1, .stream = stream});
    try {
      pair.start = take_event(lane);
      pair.end = take_event(lane);
      runtime::record(pair.start, stream);
    } catch (...) {
      give_back(lane, pair);
      lane.pairs.pop_back();
      throw;
    }
    pair_ = &pair;
  } catch (const std::exception&) {
    ++s.untimed;
  }
}

void Scope::end() noexcept {
  State& s = state();
  const std::lock_guard lock(s.mutex);
  try {
    runtime::record(pair_->end, pair_->stream);
  } catch (const std::exception&) {  // collect() finds that it was not recorded
  }
  pair_->closed = true;
}

}  // namespace weft::cuda::profile
