#include <algorithm>
#include <cstring>

#include "decoder.h"
#include "frame.h"
#include "ops.h"
#include "statement.h"

// What the decoder makes of operands: registers, immediates, symbols and addresses.

namespace weft::ptx_on_cpu {

std::uint32_t Decoder::new_register(int width) {
  const std::size_t place = f_.register_bytes;
  f_.register_bytes += static_cast<std::size_t>(width);
  return static_cast<std::uint32_t>(place);
}

std::uint32_t Decoder::new_local(std::size_t bytes, std::size_t align) {
  const std::size_t place = (f_.local_bytes + align - 1) / align * align;
  f_.local_bytes = (place + bytes + 15) / 16 * 16;
  return static_cast<std::uint32_t>(place);
}

std::uint32_t Decoder::constant(std::uint64_t bits, int width, Constant::Kind kind) {
  if (kind == Constant::Kind::bits) {
    if (width < 8) bits &= (std::uint64_t{1} << (8 * width)) - 1;
    if (width == 1) bits = bits != 0;
  }
  const auto [entry, added] = constants_.try_emplace({bits, width * 16 + static_cast<int>(kind)}, 0);
  if (added) {
    entry->second = new_register(width);
    f_.constants.push_back({kind, entry->second, width, bits});
  }
  return entry->second;
}

const Decoder::Register* Decoder::find_register(std::string_view name) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->registers.find(name); found != scope->registers.end()) return &found->second;
    for (const Family& family : scope->families) {
      if (!name.starts_with(family.prefix)) continue;
      const std::string_view digits = name.substr(family.prefix.size());
      if (digits.empty() || digits.find_first_not_of("0123456789") != std::string_view::npos) continue;
      const std::uint64_t number = number_bits(digits);
      if (number >= family.count) continue;
      found_.assign(
          1, {family.first.place + static_cast<std::uint32_t>(number) * static_cast<std::uint32_t>(family.first.width),
              family.first.width});
      return found_.data();
    }
  }
  return nullptr;
}

Decoder::Register Decoder::declared(std::string_view name) {
  const Register* const found = find_register(name);
  if (found == nullptr) fail("there is no register " + std::string(name));
  return *found;
}

// The offset or the address that stands for a variable.
bool Decoder::symbol(std::string_view name, std::uint64_t& value) {
  for (const SharedArray& array : f_.shared) {
    if (array.name == name) return value = array.offset, true;
  }
  if (const auto local = locals_.find(name); local != locals_.end()) return value = local->second, true;
  if (f_.is_entry) {
    for (const Parameter& formal : f_.formals) {
      if (formal.name == name) return value = formal.offset, true;
    }
  }
  if (const SharedArray* const array = module_.shared(name); array != nullptr && f_.is_entry) {
    add_shared(array->name, array->bytes, array->offset);
    return value = f_.shared.back().offset, true;
  }
  if (const auto* const data = module_.data(std::string(name)); data != nullptr) {
    return value = reinterpret_cast<std::uintptr_t>(data->data()), true;
  }
  return false;
}

Decoder::Register Decoder::operand(std::string_view text, int width) {
  using Kind = Constant::Kind;
  if (text.empty()) fail("an operand is missing");
  if (text[0] == '%') {
    if (const Register* const found = find_register(text); found != nullptr) {
      if (found->width != width) fail("the register " + std::string(text) + " has the wrong width");
      return *found;
    }
    const Kind kind = text == "%tid.x"      ? Kind::thread
                      : text == "%ctaid.x"  ? Kind::block
                      : text == "%ntid.x"   ? Kind::threads
                      : text == "%nctaid.x" ? Kind::blocks
                      : text == "%laneid"   ? Kind::lane
                                            : Kind::bits;
    if (kind == Kind::bits || width != 4) fail("there is no register " + std::string(text));
    return {constant(0, 4, kind), 4};
  }
  if (text[0] == '-' || (text[0] >= '0' && text[0] <= '9')) return {constant(number_bits(text), width), width};
  std::uint64_t value = 0;
  if (!symbol(text, value)) fail("there is no variable " + std::string(text));
  return {constant(value, width), width};
}

std::pair<std::uint32_t, std::size_t> Decoder::call_parameter(std::string_view name) const {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
    if (const auto found = scope->parameters.find(name); found != scope->parameters.end()) return found->second;
  }
  return {kNowhere, 0};
}

// [register+offset], [variable+offset], [variable].
void Decoder::address(Instruction& in, std::string_view text, const std::string& space) {
  if (text.size() < 3 || text.front() != '[' || text.back() != ']') fail("not an address: " + std::string(text));
  text = text.substr(1, text.size() - 2);
  const std::size_t plus = text.find('+');
  const std::string_view base = text.substr(0, plus);
  if (plus != std::string_view::npos) in.offset = static_cast<std::int64_t>(number_bits(text.substr(plus + 1)));
  if (const Register* const found = find_register(base); found != nullptr) {
    if (found->width != 4 && found->width != 8) fail("an address of the wrong width");
    in.address_width = static_cast<std::uint8_t>(found->width);
    in.registers[15] = found->place;
    return;
  }
  std::uint64_t value = 0;
  if (space == "param") {
    if (const auto [place, bytes] = call_parameter(base); place != kNowhere) {
      in.offset += place;
      return;
    }
  }
  if (!symbol(base, value)) fail("there is no variable " + std::string(base));
  in.offset += static_cast<std::int64_t>(value);
}

void Decoder::memory(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < opcode.size();) {
    const std::size_t dot = std::min(opcode.find('.', at), opcode.size());
    parts.push_back(opcode.substr(at, dot - at));
    at = dot + 1;
  }
  if (parts[0] == "ldmatrix") {
    const bool transposed = opcode == "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16";
    if (!transposed && opcode != "ldmatrix.sync.aligned.m8n8.x4.shared.b16") fail("an instruction that is not known");
    const std::vector<std::string> words =
        split_operands(std::string_view(operands.at(0)).substr(1, operands[0].size() - 2));
    if (words.size() != 4) fail("not four registers");
    for (std::size_t i = 0; i < 4; ++i) in.registers[i] = operand(words[i], 4).place;
    address(in, operands.at(1), "shared");
    f_.shared_granule = std::min<std::size_t>(f_.shared_granule, 16);
    in.op = matrix_load_op(transposed);
    return;
  }
  if (parts[0] == "atom") {
    if (opcode != "atom.global.inc.u32") fail("an instruction that is not known");
    in.control = Control::atomic;
    in.op = atomic_increment;
    f_.communicates = true;
    in.registers[0] = operand(operands.at(0), 4).place;
    address(in, operands.at(1), "global");
    in.registers[1] = operand(operands.at(2), 4).place;
    return;
  }
  const bool store = parts[0] == "st";
  std::string space = parts.at(1);
  std::size_t next = 2;
  if (!store && space == "global" && parts.at(next) == "nc") ++next;
  if (parts.at(next) == "v2" || parts.at(next) == "v4") in.elements = parts[next++] == "v2" ? 2 : 4;
  const std::string type = parts.at(next);
  if (next + 1 != parts.size() || type_bytes(type) == 0) fail("an instruction that is not known");
  const std::string& where = operands.at(store ? 0 : 1);
  const std::string& registers = operands.at(store ? 1 : 0);
  address(in, where, space);
  std::vector<std::string> names{registers};
  if (registers[0] == '{') names = split_operands(std::string_view(registers).substr(1, registers.size() - 2));
  if (names.size() != in.elements) fail("not a register for each element");
  int width = 0;
  for (const std::string& name : names) {
    if (const Register* const found = find_register(name); found != nullptr) width = std::max(width, found->width);
  }
  if (width == 0) width = std::max(2, type_bytes(type));  // immediates
  for (std::size_t i = 0; i < names.size(); ++i) in.registers[i] = operand(names[i], width).place;
  // An entry's parameters are the launch's; a function's, and those of calls, lie in its local memory.
  const std::string_view base = std::string_view(where).substr(1, where.find_first_of("+]") - 1);
  if (space == "param") {
    const bool local = !f_.is_entry || call_parameter(base).first != kNowhere;
    space = local ? "local" : "parameter";
  }
  if (space == "shared") {
    const auto bytes = static_cast<std::size_t>(type_bytes(type)) * in.elements;
    f_.shared_granule = std::min(f_.shared_granule, bytes);
  }
  in.op = memory_op(store, space, type, width);
  if (in.op == nullptr) fail("an instruction that is not known");
}

// mov between a wide register and {narrow ones}; otherwise a plain form.
void Decoder::move(Instruction& in, const std::string& opcode, const std::vector<std::string>& operands) {
  const bool pack = operands.at(1)[0] == '{', unpack = operands.at(0)[0] == '{';
  if (!pack && !unpack) return plain(in, opcode, operands);
  const std::string& braces = operands[pack ? 1 : 0];
  const std::vector<std::string> parts = split_operands(std::string_view(braces).substr(1, braces.size() - 2));
  const int whole = type_bytes(std::string_view(opcode).substr(4)), part = whole / static_cast<int>(parts.size());
  in.elements = static_cast<std::uint8_t>(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    in.registers[i] = parts[i] == "_" ? new_register(part) : operand(parts[i], part).place;
  }
  in.registers[15] = operand(operands[pack ? 0 : 1], whole).place;
  in.op = pack_op(pack, whole, part);
  if (in.op == nullptr) fail("an instruction that is not known");
}

// (result), function, (arguments)
void Decoder::call(Instruction& in, std::string_view text) {
  std::vector<std::string> parts = split_operands(text);
  std::string result;
  if (!parts.empty() && parts[0][0] == '(') {
    result = split_operands(std::string_view(parts[0]).substr(1, parts[0].size() - 2)).at(0);
    parts.erase(parts.begin());
  }
  const Function* const callee = parts.empty() ? nullptr : module_.find(parts[0]);
  if (callee == nullptr || callee->is_entry) fail("there is no function with that name");
  std::vector<std::string> arguments;
  if (parts.size() > 1) arguments = split_operands(std::string_view(parts[1]).substr(1, parts[1].size() - 2));
  if (arguments.size() != callee->formals.size()) fail("another number of arguments than the function has");
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto [place, bytes] = call_parameter(arguments[i]);
    if (place == kNowhere || bytes < callee->formals[i].bytes) fail("not an argument: " + arguments[i]);
    in.arguments.emplace_back(place, static_cast<std::uint32_t>(callee->formals[i].offset));
  }
  if (callee->result != kNowhere) {
    const auto [place, bytes] = call_parameter(result);
    if (place == kNowhere || bytes < callee->result_bytes) fail("no place for the result");
    in.arguments.emplace_back(place, callee->result);
  }
  in.callee = callee;
  in.op = ptx_on_cpu::call;
}

}  // namespace weft::ptx_on_cpu
