##@ Diagrams of the networks (logs/diagrams)

# make td CONFIG=avix_vit_64k_jnd; ARGS="--data vimh_simple_3p" builds it for another data set
CONFIG ?= avix_cnn_64k
DIAGRAM = $(PYTHON) viz/enhanced_model_diagrams.py $(ARGS)
DIAGRAM_TEXT = $(PYTHON) viz/simple_model_diagram.py $(ARGS)

td test-diagram: $(READY) ## Picture of a network as SVG and PNG (CONFIG=NAME; default avix_cnn_64k)
	@$(DIAGRAM) --config $(CONFIG)

tda test-diagram-all: $(READY) ## Pictures of all networks
	@$(DIAGRAM)

tdl test-diagram-list: $(READY) ## The models that can be drawn
	@$(DIAGRAM) --list-configs

tds test-diagram-simple: $(READY) ## A network as text: layers, shapes, parameters, MACs (CONFIG=NAME)
	@$(DIAGRAM_TEXT) --config $(CONFIG)

tdsl test-diagram-simple-list: $(READY) ## The models that can be written out
	@$(DIAGRAM_TEXT) --list-configs

tdsc test-diagram-simple-config: $(READY) ## The network of CONFIG=NAME as text, as tds does
	@$(DIAGRAM_TEXT) --config $(CONFIG)

tdss test-diagram-simple-samples: $(READY) ## One network of each kind as text
	@$(DIAGRAM_TEXT) --config avix_densenet_64k_jnd mnist_cnn_8k mnist_vit_38k mnist_convnext_68k \
	 cifar10_cnn_64k cifar10_efficientnet_210k mnist_mh_cnn_422k

tdsm test-diagram-simple-mnist: $(READY) ## The MNIST networks as text
	@$(DIAGRAM_TEXT) --config mnist_sdn_8k mnist_cnn_8k mnist_vit_38k mnist_convnext_68k mnist_mh_cnn_422k

tdsc10 test-diagram-simple-cifar10: $(READY) ## The CIFAR-10 networks as text
	@$(DIAGRAM_TEXT) --config cifar10_cnn_64k cifar10_convnext_64k cifar10_mh_cnn_64k cifar10_vit_210k

amlp64d avix-mlp-64k-diagram: $(READY) ## Picture of the AVIX MLP 64k
	@$(DIAGRAM) --config avix_mlp_64k_jnd

asdn64d avix-simple-dense-net-64k-diagram: $(READY) ## Picture of the AVIX SimpleDenseNet 64k
	@$(DIAGRAM) --config avix_densenet_64k_jnd
