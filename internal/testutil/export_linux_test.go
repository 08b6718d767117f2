package testutil

var (
	TrueImage  = trueImage
	SettleTime = &settleTime
)
