package network

// ParseCNI reads what a plugin has printed for a configuration.
func ParseCNI(config, stdout []byte, ifname string) (Result, error) {
	if config == nil {
		config = []byte("{}")
	}
	in, err := parseCNIResult(config, stdout)
	if err != nil {
		return Result{}, err
	}
	return resultOfCNI(in, ifname)
}
