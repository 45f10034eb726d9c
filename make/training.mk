##@ Training

# $(call train,overrides): one training, which says where it lies, then what make has for it.
define train
@$(RUN) src/train.py $(1) $(ARGS)
@echo "TensorBoard: make tbr, then http://localhost:6007 (multiruns: make tbmr, port 6008)"
@echo "Report:      make evaluate (intervals, pictures, resynthesised sound; prints where it is)"
endef

# One epoch of ten batches
QUICK = trainer.max_epochs=1 trainer.limit_train_batches=10 trainer.limit_val_batches=5

tr train train-sdn: $(READY) ## SimpleDenseNet 68k on the bundled digits
	$(call train,model=mnist_sdn_68k)

tq train-quick: $(READY) ## The default, one epoch of ten batches
	$(call train,trainer.min_epochs=1 $(QUICK))

# A checkpoint by CKPT=path, which reaches the script by the environment, so that no shell reads it;
# without it that of the newest run.
el evaluate: $(READY) ## Report on a checkpoint: intervals, baselines, pictures, sound (CKPT=path; else the newest run's)
	@$(RUN) scripts/evaluate_run.py $(ARGS)

# FOLDER and NAME reach the script by the environment too.
zm zoo-model: $(READY) ## A model of the zoo of a finished run: files and card (FOLDER=logs/train/runs/... NAME=resonator)
	@$(RUN) scripts/make_zoo_model.py "$$FOLDER" "$$NAME"

##@ VIMH experiments

ev exp-vimh: $(READY) ## CNN 64k on the 72-sample grid
	$(call train,experiment=vimh_cnn)

evimhstk exp-vimh-stk: $(READY) ## CNN 64k on a plucked string: pitch and decay
	$(call train,experiment=vimh_cnn_stk)

epl exp-plate: $(READY) ## CNN on impulse responses of a plate: six parameters
	$(call train,experiment=plate_cnn)

edx exp-dexed: $(READY) ## CNN on a DX7: its algorithm and four numbers (needs the extra [dexed])
	$(call train,experiment=dexed_cnn)

evt exp-vital: $(READY) ## CNN on Vital: eight controls (needs the extra [vital])
	$(call train,experiment=vital_cnn)

efvoice exp-faust-voice: $(READY) ## CNN 64k on a Faust voice: wave, cutoff, Q, attack, decay; needs pip install -e ".[faust]"
	$(call train,experiment=faust_voice_cnn)

effm exp-faust-fm: $(READY) ## The same on two operators in Faust: ratio, index and both decays
	$(call train,experiment=faust_fm_cnn)

efstring exp-faust-string: $(READY) ## The same on a plucked string in Faust: decay, brightness, position
	$(call train,experiment=faust_string_cnn)

evimh exp-vimh-16kdss: $(READY) ## CNN 64k on 16384 random samples, cross-entropy
	$(call train,experiment=vimh_cnn_16kdss)

evimhr exp-vimh-16kdss-regression: $(READY) ## The same with regression heads
	$(call train,experiment=vimh_cnn_16kdss_regression)

evimhs exp-vimh-16kdss-soft-target: $(READY) ## The same with soft targets
	$(call train,experiment=vimh_cnn_16kdss_soft_target)

evimho exp-vimh-16kdss-ordinal: $(READY) ## The same with the ordinal loss
	$(call train,experiment=vimh_cnn_16kdss_ordinal)

evimhq exp-vimh-16kdss-quantized: $(READY) ## The same with quantised regression
	$(call train,experiment=vimh_cnn_16kdss_quantized_regression)

evimhw exp-vimh-16kdss-weighted-ce: $(READY) ## The same with weighted cross-entropy
	$(call train,experiment=vimh_cnn_16kdss_weighted_ce)
