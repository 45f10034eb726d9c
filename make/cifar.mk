##@ MNIST (downloaded where it is missing; ARGS="data.source.root=FOLDER" takes your own files)

# $(call on,data,model): the model of another experiment, named in the tags. COMMA is in sweeps.mk.
on = model=$(2) 'tags=[$(1)$(COMMA)$(2)]'
DIGITS = data=digits $(QUICK)
SUITE = $(RUN) benchmarks/cifar_suite.py

trc trcnn train-cnn: $(READY) ## CNN 68k
	$(call train,data=mnist model=mnist_cnn_68k)

trvs train-vit-small: $(READY) ## Vision transformer 38k
	$(call train,data=mnist model=mnist_vit_38k)

trvm train-vit-medium: $(READY) ## Vision transformer 210k
	$(call train,data=mnist model=mnist_vit_210k)

trvl train-vit-large: $(READY) ## Vision transformer 821k
	$(call train,data=mnist model=mnist_vit_821k)

trvp train-vit-pytorch: $(READY) ## Vision transformer 210k of PyTorch's fused layers
	$(call train,data=mnist model=mnist_vit_pytorch)

trcns train-convnext-small: $(READY) ## ConvNeXt V2 68k
	$(call train,data=mnist model=mnist_convnext_68k)

trcnm train-convnext-medium: $(READY) ## ConvNeXt V2 210k
	$(call train,data=mnist model=mnist_convnext_210k)

trcnl train-convnext-large: $(READY) ## ConvNeXt V2 821k
	$(call train,data=mnist model=mnist_convnext_821k)

tmps train-mps: $(READY) ## The default on the GPU of an Apple computer
	$(call train,trainer=mps)

tqc train-quick-cnn: $(READY) ## CNN on the bundled digits, one epoch of ten batches
	$(call train,model=mnist_cnn_68k $(DIGITS))

tqv train-quick-vit: $(READY) ## Vision transformer, likewise
	$(call train,model=mnist_vit_38k $(DIGITS))

tqcn train-quick-convnext: $(READY) ## ConvNeXt V2, likewise
	$(call train,model=mnist_convnext_68k $(DIGITS))

tqa train-quick-all: tq tqc tqv tqcn ## All quick trainings of the bundled digits

e esdn exp-sdn: $(READY) ## The template's example: SimpleDenseNet on MNIST
	$(call train,experiment=example)

edc exp-digits-cnn: $(READY) ## CNN on the bundled digits: 98 % in under two minutes
	$(call train,experiment=digits_cnn)

ecm exp-cnn-mnist: $(READY) ## CNN 421k on MNIST
	$(call train,experiment=cnn_mnist)

evit exp-vit: $(READY) ## Vision transformer 210k on MNIST
	$(call train,experiment=vit_mnist)

ev995 exp-vit-995: $(READY) ## Vision transformer for 99.5 % on MNIST, 200 epochs
	$(call train,experiment=mnist_vit_995)

excn exp-convnext: $(READY) ## ConvNeXt V2 68k on MNIST
	$(call train,experiment=convnext_mnist)

emhcm exp-multihead-cnn-mnist: $(READY) ## Digit, thickness and smoothness by one CNN
	$(call train,experiment=multihead_cnn_mnist)

##@ CIFAR (downloaded where it is missing, 170 MB each)

emhcc10 exp-multihead-cnn-cifar10: $(READY) ## CIFAR-10: the label and three properties of it
	$(call train,experiment=multihead_cnn_cifar10)

ecnb exp-convnext-benchmark: $(READY) ## ConvNeXt V2 Tiny, 28 million weights, for a GPU
	$(call train,experiment=convnext_v2_official_tiny_benchmark)

cb10c cifar10-cnn: $(READY) ## CIFAR-10: CNN 64k
	$(call train,experiment=cifar10_benchmark_cnn)

cb10cn cifar10-convnext: $(READY) ## CIFAR-10: ConvNeXt V2 210k
	$(call train,experiment=cifar10_benchmark_convnext)

cb10cn64 cifar10-convnext-64k cifar10-convnext-64k-optimized: $(READY) ## CIFAR-10: ConvNeXt V2 64k
	$(call train,experiment=cifar10_convnext_64k_optimized)

cb10cn128 cifar10-convnext-128k cifar10-convnext-128k-optimized: $(READY) ## CIFAR-10: ConvNeXt V2 128k
	$(call train,experiment=cifar10_convnext_128k_optimized)

cb10v cifar10-vit: $(READY) ## CIFAR-10: Vision transformer 210k
	$(call train,experiment=cifar10_benchmark_vit)

cb10e cifar10-efficientnet: $(READY) ## CIFAR-10: EfficientNet 210k
	$(call train,experiment=cifar10_benchmark_efficientnet)

cb100c cifar100-cnn: $(READY) ## CIFAR-100: CNN 64k
	$(call train,experiment=cifar100_benchmark_cnn)

cb100cn cifar100-convnext: $(READY) ## CIFAR-100: ConvNeXt V2 210k
	$(call train,experiment=cifar100_benchmark_convnext)

cb100v cifar100-vit: $(READY) ## CIFAR-100: Vision transformer 210k
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_vit_210k))

cb100e cifar100-efficientnet: $(READY) ## CIFAR-100: EfficientNet 210k
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_efficientnet_210k))

cb100sdn cifar100-sdn cifar100-sdn-1m: $(READY) ## CIFAR-100: SimpleDenseNet 1M
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_sdn_1m))

cb100cnn1m cifar100-cnn-1m: $(READY) ## CIFAR-100: CNN 1M
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_cnn_1m))

cb100cn1m cifar100-convnext-1m: $(READY) ## CIFAR-100: ConvNeXt V2 1M
	$(call train,experiment=cifar100_benchmark_convnext $(call on,cifar100,cifar100_convnext_1m))

cb100cn10m cifar100-convnext-10m: $(READY) ## CIFAR-100: ConvNeXt V2 10M
	$(call train,experiment=cifar100_benchmark_convnext $(call on,cifar100,cifar100_convnext_10m))

cb100cc cifar100-coarse cifar100-coarse-cnn: $(READY) ## CIFAR-100: CNN 64k on the 20 superclasses
	$(call train,experiment=cifar100_coarse_cnn)

cb100ccn cifar100-coarse-convnext: $(READY) ## CIFAR-100: ConvNeXt V2 210k on the 20 superclasses
	$(call train,experiment=cifar100_coarse_cnn $(call on,cifar100_coarse,cifar100_convnext_210k))

cb100mhc cifar100mh-cnn: $(READY) ## CIFAR-100, class and superclass: CNN
	$(call train,experiment=cifar100mh_cnn)

cb100mhcn cifar100mh-convnext: $(READY) ## CIFAR-100, class and superclass: ConvNeXt V2
	$(call train,experiment=cifar100mh_convnext)

cb100mhv cifar100mh-vit: $(READY) ## CIFAR-100, class and superclass: Vision transformer
	$(call train,experiment=cifar100mh_vit)

cb100mhe cifar100mh-efficientnet: $(READY) ## CIFAR-100, class and superclass: EfficientNet
	$(call train,experiment=cifar100mh_efficientnet)

##@ CIFAR, quick (one epoch of ten batches)

cbq10c cifar10-quick-cnn: $(READY) ## CIFAR-10: CNN 64k
	$(call train,experiment=cifar10_benchmark_cnn $(QUICK))

cbq10cn cifar10-quick-convnext: $(READY) ## CIFAR-10: ConvNeXt V2 210k
	$(call train,experiment=cifar10_benchmark_convnext $(QUICK))

cbq10cn64 cifar10-quick-convnext-64k: $(READY) ## CIFAR-10: ConvNeXt V2 64k
	$(call train,experiment=cifar10_convnext_64k_optimized $(QUICK))

cbq10cn128 cifar10-quick-convnext-128k: $(READY) ## CIFAR-10: ConvNeXt V2 128k
	$(call train,experiment=cifar10_convnext_128k_optimized $(QUICK))

cbq100c cifar100-quick-cnn: $(READY) ## CIFAR-100: CNN 64k
	$(call train,experiment=cifar100_benchmark_cnn $(QUICK))

cbq100sdn cifar100-quick-sdn cifar100-quick-sdn-1m: $(READY) ## CIFAR-100: SimpleDenseNet 1M
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_sdn_1m) $(QUICK))

cbq100cnn1m cifar100-quick-cnn-1m: $(READY) ## CIFAR-100: CNN 1M
	$(call train,experiment=cifar100_benchmark_cnn $(call on,cifar100,cifar100_cnn_1m) $(QUICK))

cbq100cn1m cifar100-quick-convnext-1m: $(READY) ## CIFAR-100: ConvNeXt V2 1M
	$(call train,experiment=cifar100_benchmark_convnext $(call on,cifar100,cifar100_convnext_1m) $(QUICK))

cbq100cn10m cifar100-quick-convnext-10m: $(READY) ## CIFAR-100: ConvNeXt V2 10M
	$(call train,experiment=cifar100_benchmark_convnext $(call on,cifar100,cifar100_convnext_10m) $(QUICK))

cbq100cc cifar100-quick-coarse: $(READY) ## CIFAR-100: CNN 64k on the 20 superclasses
	$(call train,experiment=cifar100_coarse_cnn $(QUICK))

cbqa cifar-quick-all: $(READY) ## Every run of the suite, quickly
	@$(SUITE) --set all --quick -- $(ARGS)

allqt all-quick-tests: tqa cbqa ## All quick trainings

##@ CIFAR benchmark suite (docs/benchmarks.md; the same target goes on where it stopped)

cbs cifar-suite benchmark-suite: $(READY) ## The networks up to a million weights on both data sets, and a report
	@$(SUITE) -- $(ARGS)

cbs10 cifar-suite-10 benchmark-cifar10: $(READY) ## Those on CIFAR-10
	@$(SUITE) --set cifar10 -- $(ARGS)

cbs100 cifar-suite-100 benchmark-cifar100: $(READY) ## Those on CIFAR-100
	@$(SUITE) --set cifar100 -- $(ARGS)

cbsa cifar-suite-all benchmark-all: $(READY) ## And those with two heads, and the largest
	@$(SUITE) --set all -- $(ARGS)
