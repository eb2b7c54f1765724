<?php // The module of benchmarks/subjects.py for libyate.php: php libyate.php PORT, with LIBYATE_PHP its file.
require_once(getenv("LIBYATE_PHP"));
Yate::Init(false, "127.0.0.1", intval($argv[1]), "global", 65536);
Yate::Install("call.route", 100);
while (($event = Yate::GetEvent()) !== false) {
    if ($event === true || $event->type != "incoming")
        continue;
    if ($event->GetValue("called") === "123" && $event->GetValue("caller") === "100") {
        $event->params["param1"] = "value1";
        $event->retval = "sip/sip:test@127.0.0.1";
        $event->handled = true;
    }
    $event->Acknowledge();
}
