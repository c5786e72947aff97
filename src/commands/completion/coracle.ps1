# Completion of coracle for PowerShell. The program itself says what fits; see "coracle completion --help".
Register-ArgumentCompleter -Native -CommandName coracle -ScriptBlock {
    param($word, $line, $cursor)
    $given = @($line.CommandElements | Select-Object -Skip 1 | Where-Object { $_.Extent.StartOffset -lt $cursor } |
        ForEach-Object { $_.ToString() })
    $state = if ($word) { 'word' } else { 'next' }
    coracle __complete $state @given 2>$null | ForEach-Object {
        $name, $help = $_ -split "`t", 2
        if ($name -and -not $name.StartsWith(':')) {
            if (-not $help) { $help = $name }
            [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $help)
        }
    }
}
