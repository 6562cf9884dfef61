// A device whose memory is the CPU's and whose tensors are not: whatever mixes it with the CPU is refused, as on a GPU.
#include <torch/extension.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/CPUAllocator.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/CPUGeneratorImpl.h>

using namespace at;

struct FarAllocator final : public c10::Allocator {
  static void del(void* p) { free(p); }
  c10::DataPtr allocate(size_t n) override {
    void* p = n ? malloc(n) : nullptr;
    return {p, p, &del, c10::Device(c10::DeviceType::PrivateUse1, 0)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &del; }
  void copy_data(void* d, const void* s, std::size_t n) const override { memcpy(d, s, n); }
};
static FarAllocator allocator;
REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator);

struct Guard final : public c10::impl::DeviceGuardImplInterface {
  static constexpr c10::DeviceType static_type = c10::DeviceType::PrivateUse1;
  Guard() = default;
  explicit Guard(c10::DeviceType) {}
  c10::DeviceType type() const override { return static_type; }
  c10::Device exchangeDevice(c10::Device d) const override { return c10::Device(static_type, 0); }
  c10::Device getDevice() const override { return c10::Device(static_type, 0); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device d) const override { return c10::Stream(c10::Stream::DEFAULT, c10::Device(static_type, 0)); }
  c10::Stream getDefaultStream(c10::Device d) const override { return getStream(d); }
  c10::Stream exchangeStream(c10::Stream s) const override { return s; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : public at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  bool isAvailable() const override { return true; }
  const Generator& getDefaultGenerator(c10::DeviceIndex) const override { return at::detail::getDefaultCPUGenerator(); }
  Generator getNewGenerator(c10::DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  at::Device getDeviceFromPtr(void*) const override { return at::Device(at::DeviceType::PrivateUse1, 0); }
};


static Tensor on_cpu(const Tensor& x) {
  // shares the bytes
  auto storage = c10::Storage(c10::Storage::use_byte_size_t(), x.storage().nbytes(),
    c10::DataPtr(const_cast<void*>(x.storage().data()), c10::Device(c10::DeviceType::CPU)), nullptr, false);
  auto t = at::detail::make_tensor<TensorImpl>(std::move(storage), c10::DispatchKeySet(c10::DispatchKey::CPU), x.dtype());
  t.unsafeGetTensorImpl()->set_sizes_and_strides(x.sizes(), x.strides(), x.storage_offset());
  return t;
}

// what takes the CPU's indices, or its bytes, on a GPU too; not index_select, nor what is made of it, as an embedding is
static bool excused(const std::string& name) {
  for (auto known : {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index",
                     "aten::_unsafe_index_put", "aten::copy_", "aten::_copy_from", "aten::_copy_from_and_resize"})
    if (name == known) return true;
  return name.rfind("aten::set_", 0) == 0;
}

static void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  auto name = op.schema().name();
  bool near = false, far = false;
  auto see = [&](const Tensor& x) {
    if (!x.defined() || (x.dim() == 0 && x.device().is_cpu())) return;
    (x.device().is_cpu() ? near : far) = true;
  };
  auto args = torch::jit::last(*stack, op.schema().arguments().size());
  for (const auto& a : args) {
    if (a.isTensor()) see(a.toTensor());
    else if (a.isTensorList()) for (const auto& t : a.toTensorVector()) see(t);
    else if (a.isList()) for (const auto& v : a.toListRef()) if (v.isTensor()) see(v.toTensor());
  }
  TORCH_CHECK(!(near && far && !excused(name)), "Expected all tensors to be on the same device, in ", name);
  at::native::cpu_fallback(op, stack);
}

static Tensor far_empty_memory_format(IntArrayRef size, std::optional<ScalarType> dtype, std::optional<Layout>, std::optional<Device>,
                                  std::optional<bool>, std::optional<MemoryFormat> format) {
  return at::detail::empty_generic(size, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype), format);
}
static Tensor far_empty_strided(IntArrayRef size, IntArrayRef stride, std::optional<ScalarType> dtype, std::optional<Layout>,
                            std::optional<Device>, std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &allocator, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), c10::dtype_or_default(dtype));
}
static Tensor far_copy_from(const Tensor& self, const Tensor& dst, bool) {
  auto s = self.device().is_cpu() ? self : on_cpu(self);
  auto d = dst.device().is_cpu() ? dst : on_cpu(dst);
  at::native::copy_(d, s, false);
  return dst;
}
static Tensor far_copy_from_and_resize(const Tensor& self, const Tensor& dst) {
  at::native::resize_(dst, self.sizes(), std::nullopt);
  return far_copy_from(self, dst, false);
}
static Tensor far_as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<int64_t> offset) {
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}
static Tensor far_view(const Tensor& self, IntArrayRef size) { return at::native::view(self, size); }
static Tensor far_reshape_alias(const Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
  return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}
static const Tensor& far_resize(const Tensor& self, c10::SymIntArrayRef size, std::optional<MemoryFormat> f) {
  return at::native::resize_(self, C10_AS_INTARRAYREF_SLOW(size), f);
}
static Scalar far_local_scalar(const Tensor& self) { return on_cpu(self).item(); }
static int64_t sdp(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, double, bool, std::optional<double>, bool) { return 0; }

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>()); }
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", far_empty_memory_format);
  m.impl("empty_strided", far_empty_strided);
  m.impl("_copy_from", far_copy_from);
  m.impl("_copy_from_and_resize", far_copy_from_and_resize);
  m.impl("as_strided", far_as_strided);
  m.impl("view", far_view);
  m.impl("_reshape_alias", far_reshape_alias);
  m.impl("resize_", far_resize);
  m.impl("_local_scalar_dense", far_local_scalar);
  m.impl("_fused_sdp_choice", sdp);
}
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {
  m.def("register_hooks", [] { at::RegisterPrivateUse1HooksInterface(new Hooks()); });
}
