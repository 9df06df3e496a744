# Intune, detection: exit code 0 if mpr-otel delivers on this machine, or would if its collector were
# there; 1 if something is to be put right. Prints the problems in one line.
$program = Join-Path $env:ProgramFiles 'mpr-otel\mpr-otel.exe'
if (-not (Test-Path -LiteralPath $program)) {
    Write-Output 'mpr-otel is not installed'
    exit 1
}
$said = & $program status --json
# 3: only the collector is away. That is not this machine's to put right.
$isWell = $LASTEXITCODE -in 0, 3
try {
    $status = ($said -join "`n") | ConvertFrom-Json
    $problems = @($status.verdict.problems | ForEach-Object { $_.what })
    # An administrator has switched it off. To install it again would change nothing.
    if ($status.verdict.problems.name -contains 'disabled') {
        $isWell = $true
    }
} catch {
    $problems = @("mpr-otel status says nothing that can be read: $_")
    $isWell = $false
}
Write-Output $(if ($problems) { $problems -join '; ' } else { 'mpr-otel delivers' })
exit $(if ($isWell) { 0 } else { 1 })
