#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// A module of PTX (the text that nvcc -ptx writes) and its functions, decoded to what frame.h executes. A function is
// decoded when it is first asked for.

namespace weft::ptx_on_cpu {

/// PTX that cannot be read, is not known here, or breaks a rule of the machine.
class PtxError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

class Frame;
class Module;
struct Function;
struct Instruction;
struct Lanes;

using Op = void (*)(Frame&, const Instruction&, const Lanes&);

/// What the scheduler does itself; `none` is an Op.
enum class Control : std::uint8_t { none, branch, exit, barrier, fence, atomic };

inline constexpr std::uint32_t kNowhere = ~0u;

/// A register is an array over the threads of the block; its place is a number of bytes per thread. Immediates and
/// special registers are registers that are filled beforehand.
struct Instruction {
  Op op = nullptr;
  Control control = Control::none;
  std::uint8_t elements = 1;       ///< of a vector load or store
  std::uint8_t address_width = 0;  ///< of the register with the address, in bytes; 0: `offset` alone
  bool guard_negated = false;
  std::uint32_t guard = kNowhere;    ///< a predicate
  std::uint32_t target = 0;          ///< of a branch
  std::uint32_t form = 0;            ///< of the opcode: form_name
  std::uint32_t registers[16] = {};  ///< the destinations first
  std::int64_t offset = 0;           ///< of an address
  const Function* callee = nullptr;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> arguments = {};  ///< place here and there, of a call
};

struct Parameter {
  std::string name;
  std::size_t offset, bytes;
};
/// A register whose value is known beforehand: `bits`, or the index within the grid.
struct Constant {
  enum class Kind : std::uint8_t { bits, thread, block, threads, blocks, lane };
  Kind kind;
  std::uint32_t place;
  int width;
  std::uint64_t bits;
};
struct SharedArray {
  std::string name;
  std::size_t offset, bytes;
};

struct Function {
  const Module* module = nullptr;
  std::string name;
  bool is_entry = false;
  std::string_view returns = {}, parameters = {}, body = {};
  int line = 0;  ///< of the body in the module

  // After Module::decode:
  bool decoded = false;
  std::vector<Instruction> code = {};
  std::vector<int> lines = {};          ///< of each instruction in the module
  std::vector<std::string> texts = {};  ///< of each instruction
  std::vector<Parameter> formals = {};  ///< an entry's in the parameter space, a function's in its local memory
  std::size_t parameter_bytes = 0;
  std::uint32_t result = kNowhere;  ///< of a function, in its local memory
  std::size_t result_bytes = 0;
  std::vector<Constant> constants = {};
  std::size_t register_bytes = 0, local_bytes = 0;  ///< per thread
  std::vector<SharedArray> shared = {};
  std::size_t shared_bytes = 0;
  std::size_t shared_granule = 16;  ///< the smallest access to shared memory
  bool communicates = false;        ///< has fences or atomics
  /// Thread instructions executed so far, for each of `code`.
  mutable std::vector<std::uint64_t> executed = {};
};

class Module {
 public:
  /// `name` is for messages. Throws PtxError.
  Module(std::string name, std::string text);
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  const std::string& name() const { return name_; }
  const std::string& text() const { return text_; }
  /// The function of that name, decoded; null where there is none.
  const Function* find(const std::string& name);
  const std::deque<Function>& functions() const { return functions_; }
  /// The bytes of a variable in global or constant memory; null where there is none.
  const std::vector<unsigned char>* data(const std::string& name) const;
  const std::map<std::string, std::vector<unsigned char>>& all_data() const { return data_; }
  /// A shared array that several entries name, with its alignment for an offset; null where there is none.
  const SharedArray* shared(std::string_view name) const;

 private:
  friend class Decoder;
  void index();
  void index_function(std::size_t start, bool entry);
  void index_data(std::size_t start);
  void index_shared(std::string_view line);
  std::string name_, text_;
  std::size_t counted_ = 0;  // bytes whose lines were counted
  int counted_lines_ = 0;
  std::deque<Function> functions_;
  std::map<std::string, Function*> by_name_;
  std::map<std::string, std::vector<unsigned char>> data_;
  std::vector<SharedArray> shared_;
};

/// "add.rn.f32": the opcode with its modifiers and types, by number. Not for several threads at a time.
const std::string& form_name(std::uint32_t form);
std::uint32_t form_of(const std::string& name);
std::uint32_t form_count();

/// The bytes of a PTX type such as b32; 1 for pred, 0 where it is none.
int type_bytes(std::string_view type);
/// The bits of "12", "-3", "0x1F", "0f3F800000" or "0d...".
std::uint64_t number_bits(std::string_view text);

}  // namespace weft::ptx_on_cpu
