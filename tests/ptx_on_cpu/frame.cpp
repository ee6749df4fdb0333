#include "frame.h"

#include <algorithm>
#include <iterator>
#include <random>

namespace weft::ptx_on_cpu {

namespace {

Lanes lanes_of(const std::vector<std::uint16_t>& threads) {
  const int count = static_cast<int>(threads.size()), first = threads.front();
  return {threads.data(), count, first, threads.back() - first + 1 == count};
}

}  // namespace

Frame::Frame(Block& block, const Function& function, int threads)
    : block_(&block),
      function_(&function),
      threads_(threads),
      stride_(static_cast<std::size_t>(threads + 31) / 32 * 32),
      registers_(function.register_bytes * stride_),
      local_(function.local_bytes * stride_),
      carry_(stride_) {
  for (const Constant& constant : function.constants) {
    for (int i = 0; i < threads; ++i) {
      std::uint64_t bits = constant.bits;
      if (constant.kind == Constant::Kind::thread) bits = static_cast<std::uint64_t>(i);
      if (constant.kind == Constant::Kind::lane) bits = static_cast<std::uint64_t>(i % 32);
      if (constant.kind == Constant::Kind::threads) bits = static_cast<std::uint64_t>(threads);
      if (constant.kind == Constant::Kind::blocks) bits = static_cast<std::uint64_t>(block.launch().blocks);
      if (constant.width == 1) reg<std::uint8_t>(constant.place)[i] = bits != 0;
      if (constant.width == 2) reg<std::uint16_t>(constant.place)[i] = static_cast<std::uint16_t>(bits);
      if (constant.width == 4) reg<std::uint32_t>(constant.place)[i] = static_cast<std::uint32_t>(bits);
      if (constant.width == 8) reg<std::uint64_t>(constant.place)[i] = bits;
    }
  }
}

void Frame::begin(const Lanes& group) {
  for (const Constant& constant : function_->constants) {
    if (constant.kind != Constant::Kind::block) continue;
    std::fill_n(reg<std::uint32_t>(constant.place), threads_, static_cast<std::uint32_t>(block_->index()));
  }
  ready_.clear();
  waiting_.clear();
  waiting_pc_ = kNowhere;
  exited_ = 0;
  begun_ = group.count;
  resumed_ = false;
  add(0, group.at, group.count);
}

void Frame::fail(const Instruction& at, const std::string& what) const {
  const auto index = static_cast<std::size_t>(&at - function_->code.data());
  throw PtxError("kernel " + block_->launch().entry->name + ", block " + std::to_string(block_->index()) + ": " + what +
                 " (line " + std::to_string(function_->lines[index]) + " of " + function_->module->name() + ": " +
                 function_->texts[index] + ")");
}

void Frame::add(std::uint32_t pc, const std::uint16_t* threads, int count) {
  auto place = ready_.end();
  while (place != ready_.begin() && (place - 1)->pc < pc) --place;
  if (place != ready_.begin() && (place - 1)->pc == pc) {
    std::vector<std::uint16_t>& there = (place - 1)->threads;
    buffer_.clear();
    std::merge(there.begin(), there.end(), threads, threads + count, std::back_inserter(buffer_));
    there.swap(buffer_);
    return;
  }
  ready_.insert(place, Group{pc, std::vector<std::uint16_t>(threads, threads + count)});
}

void Frame::select(const Instruction& in, const Lanes& lanes, std::vector<std::uint16_t>& yes,
                   std::vector<std::uint16_t>& no) {
  const std::uint8_t* const guard = reg<std::uint8_t>(in.guard);
  yes.clear();
  no.clear();
  for (int i = 0; i < lanes.count; ++i) {
    const std::uint16_t thread = lanes.at[i];
    ((guard[thread] != 0) != in.guard_negated ? yes : no).push_back(thread);
  }
}

// Returns whether the group goes on, at `pc`; the lower one of two.
bool Frame::branch(const Instruction& in, Lanes& lanes, std::uint32_t& pc) {
  if (in.guard == kNowhere) {
    pc = in.target;
    return true;
  }
  if (lanes.dense) {
    const std::uint8_t* const guard = reg<std::uint8_t>(in.guard) + lanes.first;
    int set = 0;
    for (int i = 0; i < lanes.count; ++i) set += guard[i];
    if (in.guard_negated) set = lanes.count - set;
    if (set == 0 || set == lanes.count) {
      pc = set == 0 ? pc + 1 : in.target;
      return true;
    }
  }
  select(in, lanes, yes_, no_);
  if (yes_.empty() || no_.empty()) {
    pc = yes_.empty() ? pc + 1 : in.target;
    return true;
  }
  const bool taken_first = in.target < pc + 1;
  std::vector<std::uint16_t>& later = taken_first ? no_ : yes_;
  add(taken_first ? pc + 1 : in.target, later.data(), static_cast<int>(later.size()));
  current_.swap(taken_first ? yes_ : no_);
  lanes = lanes_of(current_);
  pc = std::min(in.target, pc + 1);
  return true;
}

void Frame::arrive(const Instruction& in, const Lanes& lanes, std::uint32_t pc) {
  if (!function_->is_entry) fail(in, "a barrier inside of a function is not supported");
  if (in.guard != kNowhere) fail(in, "a barrier under a condition is not supported");
  if (waiting_pc_ != kNowhere && waiting_pc_ != pc + 1) fail(in, "threads of a block wait at different barriers");
  waiting_pc_ = pc + 1;
  waiting_.insert(waiting_.end(), lanes.at, lanes.at + lanes.count);
}

// Lets the threads at the barrier go on; false where there are none.
bool Frame::release() {
  if (waiting_.empty()) return false;
  if (exited_ > 0) {
    fail(function_->code[waiting_pc_ - 1],
         std::to_string(exited_) + " threads ended while " + std::to_string(waiting_.size()) + " wait at a barrier");
  }
  std::sort(waiting_.begin(), waiting_.end());
  block_->shared().begin_phase();
  add(waiting_pc_, waiting_.data(), static_cast<int>(waiting_.size()));
  waiting_.clear();
  waiting_pc_ = kNowhere;
  return true;
}

Stop Frame::run() {
  Launch& launch = block_->launch();
  const Instruction* const code = function_->code.data();
  std::uint64_t* const executed = function_->executed.data();
  const std::uint32_t left_out = function_->is_entry ? launch.left_out : kNowhere;
  for (;;) {
    if (ready_.empty()) return release() ? Stop::barrier : Stop::done;
    std::uint32_t pc = ready_.back().pc;
    current_.swap(ready_.back().threads);
    ready_.pop_back();
    Lanes lanes = lanes_of(current_);
    std::uint32_t stop = ready_.empty() ? kNowhere : ready_.back().pc;
    for (bool here = true; here;) {
      if (pc >= stop) {
        add(pc, lanes.at, lanes.count);
        break;
      }
      const Instruction& in = code[pc];
      if (pc == left_out) {
        ++pc;
        continue;
      }
      if ((in.control == Control::fence || in.control == Control::atomic) && !resumed_) {
        if (!function_->is_entry) fail(in, "a fence or an atomic inside of a function is not supported");
        resumed_ = true;
        add(pc, lanes.at, lanes.count);
        return in.control == Control::fence ? Stop::fence : Stop::atomic;
      }
      executed[pc] += static_cast<std::uint64_t>(lanes.count);
      launch.executed += static_cast<std::uint64_t>(lanes.count);
      switch (in.control) {
        case Control::fence:
        case Control::atomic:
          resumed_ = false;
          [[fallthrough]];
        case Control::none:
          if (in.guard == kNowhere) {
            in.op(*this, in, lanes);
          } else {
            select(in, lanes, yes_, no_);
            if (!yes_.empty()) in.op(*this, in, lanes_of(yes_));
          }
          ++pc;
          break;
        case Control::branch:
          here = branch(in, lanes, pc);
          stop = ready_.empty() ? kNowhere : ready_.back().pc;
          break;
        case Control::exit:
          if (in.guard == kNowhere) {
            no_.clear();
          } else {
            select(in, lanes, yes_, no_);
          }
          exited_ += lanes.count - static_cast<int>(no_.size());
          here = !no_.empty();
          current_.swap(no_);
          if (here) lanes = lanes_of(current_);
          ++pc;
          break;
        case Control::barrier:
          arrive(in, lanes, pc);
          here = false;
          break;
      }
    }
  }
}

Block::Block(Launch& launch, const Function& entry)
    : launch_(&launch), shared_(entry, launch.unwritten, launch.fill), frame_(*this, entry, launch.threads) {
  for (int i = 0; i < launch.threads; ++i) all_.push_back(static_cast<std::uint16_t>(i));
}

void Block::begin(std::int64_t index) {
  index_ = index;
  shared_.begin_block();
  if (launch_->memory->adversarial()) view_ = std::make_unique<BlockView>(*launch_->memory);
  frame_.begin({all_.data(), launch_->threads, 0, true});
}

void Block::end() {
  if (view_) view_->flush();
}

void run(Launch& launch, const Schedule& schedule) {
  std::mt19937_64 random(schedule.seed);
  const std::int64_t alive = launch.entry->communicates ? std::min<std::int64_t>(schedule.alive, launch.blocks) : 1;
  std::vector<std::unique_ptr<Block>> blocks;
  std::vector<bool> asleep;
  std::int64_t next = 0;
  for (; next < alive; ++next) {
    blocks.push_back(std::make_unique<Block>(launch, *launch.entry));
    blocks.back()->begin(next);
    asleep.push_back(false);
  }
  while (!blocks.empty()) {
    if (std::find(asleep.begin(), asleep.end(), false) == asleep.end()) asleep.assign(asleep.size(), false);
    std::size_t chosen = random() % blocks.size();
    while (asleep[chosen]) chosen = (chosen + 1) % blocks.size();
    const Stop stop = blocks[chosen]->run();
    // A block that was just about to fence or to count stays there, half of the time, until all others did the same.
    if (stop == Stop::fence || stop == Stop::atomic) asleep[chosen] = random() % 2 == 0;
    if (stop != Stop::done) continue;
    blocks[chosen]->end();
    if (next < launch.blocks) {
      blocks[chosen]->begin(next++);
    } else {
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(chosen));
      asleep.erase(asleep.begin() + static_cast<std::ptrdiff_t>(chosen));
    }
  }
}

}  // namespace weft::ptx_on_cpu
