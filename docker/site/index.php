<?php
header('Content-Type: text/plain');
echo "PHP ", PHP_VERSION, ", process ", getmypid(), ", forwarded for ", $_SERVER['HTTP_X_FORWARDED_FOR'] ?? '-', "\n";
