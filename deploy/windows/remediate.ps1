# Intune, remediation: installs anew from the files in place, with the settings as they are. Exit code 0 if
# that was done, and what mpr-otel says in any case.
$program = Join-Path $env:ProgramFiles 'mpr-otel\mpr-otel.exe'
if (-not (Test-Path -LiteralPath $program)) {
    Write-Output 'mpr-otel is not installed; assign the package'
    exit 1
}
& $program install
exit $LASTEXITCODE
